/**
 * The Node.js language host: a LanguageRuntime gRPC server that the engine starts as `pulumi-language-nodejs`. The first line
 * it prints is its port; the engine's own address is the last argument.
 */
import { LanguageRuntimeService } from '@pulumi/pulumi/proto/language_grpc_pb.js';
import { languageRuntime, type HostState } from './runtime.ts';
import { leaveWithEngine, serveHost } from './serve.ts';

const state: HostState = { engineAddress: process.argv.at(-1) ?? '', child: undefined, packs: new Set() };

leaveWithEngine(() => {
  for (const child of [state.child, ...state.packs]) child?.kill('SIGKILL');
  process.exit(0);
});
await serveHost(LanguageRuntimeService, languageRuntime(state));
