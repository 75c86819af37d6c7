import { Server, ServerCredentials, type ServiceDefinition, type UntypedServiceImplementation } from '@grpc/grpc-js';

/** Config and plans of large stacks travel in one message: the limit the engine itself uses. */
export const MESSAGE_LIMITS = {
  'grpc.max_receive_message_length': 400 * 1024 * 1024,
  'grpc.max_send_message_length': 400 * 1024 * 1024,
};

const PARENT_CHECK_MS = 1_000;

/**
 * Calls `leave` when the engine says so or is gone. The engine waits ten seconds for a host that does not leave when told
 * to, and without a PID namespace nothing else ends a host whose engine was killed.
 */
export function leaveWithEngine(leave: () => void): void {
  process.on('SIGINT', leave);
  process.on('SIGTERM', leave);
  const engine = process.ppid;
  setInterval(() => {
    if (process.ppid !== engine) leave();
  }, PARENT_CHECK_MS).unref();
}

/**
 * Serves on a free port of the loopback.
 * @throws Error when there is no port to be had.
 */
export function listen(
  service: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): Promise<{ port: number; close(): void }> {
  const server = new Server(MESSAGE_LIMITS);
  server.addService(service, implementation);
  return new Promise((resolve, reject) => {
    server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
      if (error) reject(error);
      else resolve({ port, close: () => server.forceShutdown() });
    });
  });
}

/** Serves and prints the port, the first line the engine reads of a host. @throws Error; see `listen`. */
export async function serveHost(
  service: ServiceDefinition,
  implementation: UntypedServiceImplementation,
): Promise<void> {
  const { port } = await listen(service, implementation);
  process.stdout.write(`${port}\n`);
}
