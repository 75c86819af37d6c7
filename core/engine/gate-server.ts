import { createServer, type Socket } from 'node:net';
import { join } from 'node:path';
import { listenUnix } from './unix-socket.ts';

/** The worker's side of the gate in host/gate.ts. */
export interface GateServer {
  path: string;
  /** What the gate answered; empty as long as it was not asked. */
  differences(): string[];
  /** Why the gate could not answer. */
  failure(): unknown;
  close(): Promise<void>;
}

/**
 * Listens in the run's folder for the language host's question. A gate that throws gives no answer, which fails `Run`. It answers
 * once: the program finds the socket too, and an answer given while it runs would call a half-made apply one that never began.
 * @throws ReconcileError stalled when the run's folder lies too deep for a socket.
 */
export async function openGate(runDir: string, gate: () => Promise<string[]>): Promise<GateServer> {
  const path = join(runDir, 'gate');
  let differences: string[] = [];
  let failure: unknown;
  let isAsked = false;
  const sockets = new Set<Socket>();
  const answer = async (socket: Socket) => {
    try {
      differences = await gate();
      socket.end(JSON.stringify(differences));
    } catch (error) {
      failure = error;
      socket.destroy();
    }
  };
  const server = createServer((socket) => {
    sockets.add(socket);
    // The host may be killed while it waits; that ends the run by itself.
    socket.on('error', () => undefined);
    socket.on('close', () => sockets.delete(socket));
    if (isAsked) return void socket.destroy();
    isAsked = true;
    void answer(socket);
  });
  await listenUnix(server, path);
  return {
    path,
    differences: () => differences,
    failure: () => failure,
    close: () =>
      new Promise((resolve) => {
        for (const socket of sockets) socket.destroy();
        server.close(() => resolve());
      }),
  };
}
