import type { Server } from 'node:net';
import { stalled } from '../domain/errors.ts';

/** Longest path of a Unix socket on Linux, without its final zero byte. */
const MAX_SOCKET_PATH = 107;

/** @throws ReconcileError stalled when the folder lies too deep for a socket. */
export async function listenUnix(server: Server, path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_SOCKET_PATH) {
    throw stalled(
      'InternalError',
      `${path} is longer than the ${MAX_SOCKET_PATH} bytes of a socket path; set PLUMBLINE_DATA to a shorter one`,
    );
  }
  await new Promise<void>((resolve, reject) => server.once('error', reject).listen(path, resolve));
}
