import { connect, createServer, type Socket } from 'node:net';

/** A way to a server that can be cut without a word, as by a lost route: both ends keep their connection and hear nothing. */
export interface CutOff {
  port: number;
  cut(isCut: boolean): void;
  close(): Promise<void>;
}

/** Starts one on loopback to a port there. */
export async function startCutOff(to: number): Promise<CutOff> {
  const sockets = new Set<Socket>();
  let isCut = false;
  const server = createServer((near) => {
    const far = connect(to, '127.0.0.1');
    for (const [from, into] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(from);
      from.pipe(into);
      from.on('error', () => into.destroy());
      from.on('close', () => {
        sockets.delete(from);
        into.destroy();
      });
      if (isCut) from.pause();
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    cut(wanted) {
      isCut = wanted;
      for (const socket of sockets) {
        if (wanted) socket.pause();
        else socket.resume();
      }
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}
