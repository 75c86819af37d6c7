/**
 * The Node.js language host: a LanguageRuntime gRPC server that the engine starts as `pulumi-language-nodejs`. The first line
 * it prints is its port; the engine's own address is the last argument.
 */
import { Server, ServerCredentials } from '@grpc/grpc-js';
import { LanguageRuntimeService } from '@pulumi/pulumi/proto/language_grpc_pb.js';
import { languageRuntime, type HostState } from './runtime.ts';

/** Config and plans of large stacks travel in one message: the limit the engine itself uses. */
const MAX_MESSAGE_BYTES = 400 * 1024 * 1024;

const state: HostState = { engineAddress: process.argv.at(-1) ?? '', child: undefined };

/** The engine waits ten seconds for a host that does not leave when told to. */
function leave(): void {
  state.child?.kill('SIGKILL');
  process.exit(0);
}
process.on('SIGINT', leave);
process.on('SIGTERM', leave);

// Without a PID namespace nothing else ends a host whose engine was killed.
const engine = process.ppid;
setInterval(() => {
  if (process.ppid !== engine) leave();
}, 1_000).unref();

const server = new Server({
  'grpc.max_receive_message_length': MAX_MESSAGE_BYTES,
  'grpc.max_send_message_length': MAX_MESSAGE_BYTES,
});
server.addService(LanguageRuntimeService, languageRuntime(state));
server.bindAsync('127.0.0.1:0', ServerCredentials.createInsecure(), (error, port) => {
  if (error) throw error;
  process.stdout.write(`${port}\n`);
});
