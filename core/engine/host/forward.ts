import {
  Client,
  credentials,
  status,
  type MethodDefinition,
  type ServerDuplexStream,
  type ServiceDefinition,
  type StatusObject,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import { LanguageRuntimeService } from '@pulumi/pulumi/proto/language_grpc_pb.js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import { gateRefusal } from './gate.ts';
import { isPrivate } from './private-variables.ts';
import { MESSAGE_LIMITS } from './serve.ts';

/** What becomes of one message of the engine: it goes on to the host, or is answered here. */
type Verdict = { forward: Buffer } | { answer: Buffer };

const same = (message: Buffer) => message;

/**
 * On the wire a call with one message is a stream with one message, so every method is forwarded as a stream of bytes, and
 * nothing is lost that our version of the protocol does not know.
 */
function asBytes(path: string): MethodDefinition<Buffer, Buffer> {
  return {
    path,
    requestStream: true,
    responseStream: true,
    requestSerialize: same,
    requestDeserialize: same,
    responseSerialize: same,
    responseDeserialize: same,
  };
}

/** The LanguageRuntime service (pulumi/proto/language.proto) without a view on its messages. */
export const forwardedService: ServiceDefinition = Object.fromEntries(
  Object.entries(LanguageRuntimeService).map(([name, { path }]) => [name, asBytes(path)]),
);

/** Only with the worker's consent does a program run in an apply, whatever its language (design, Plan binding). */
async function checkedRun(message: Buffer): Promise<Verdict> {
  const refusal = await gateRefusal(language.RunRequest.deserializeBinary(message).getDryrun());
  if (refusal === undefined) return { forward: message };
  const response = new language.RunResponse();
  response.setError(refusal);
  return { answer: Buffer.from(response.serializeBinary()) };
}

/** The engine hands its whole environment on to a plugin that a host runs. */
function strippedPlugin(message: Buffer): Verdict {
  const request = language.RunPluginRequest.deserializeBinary(message);
  request.setEnvList(request.getEnvList().filter((entry) => !isPrivate(entry.split('=', 1)[0] ?? '')));
  return { forward: Buffer.from(request.serializeBinary()) };
}

async function judge(path: string, message: Buffer): Promise<Verdict> {
  if (path === LanguageRuntimeService.run.path) return checkedRun(message);
  if (path === LanguageRuntimeService.runPlugin.path) return strippedPlugin(message);
  return { forward: message };
}

type Call = ServerDuplexStream<Buffer, Buffer>;

function fail(call: Call, failure: Partial<StatusObject>): void {
  // Emitted rather than thrown: this is how grpc-js ends a stream with a status.
  call.emit('error', {
    code: failure.code ?? status.INTERNAL,
    details: failure.details ?? '',
    metadata: failure.metadata,
  });
}

function forwardCall(client: Client, path: string, call: Call): void {
  const metadata = call.metadata.clone();
  // The proxy's own is sent instead.
  metadata.remove('user-agent');
  const host = client.makeBidiStreamRequest(path, same, same, metadata, { deadline: call.getDeadline() });
  let isAnswered = false;
  host.on('data', (message: Buffer) => {
    if (call.write(message)) return;
    host.pause();
    call.once('drain', () => host.resume());
  });
  host.on('error', () => undefined);
  host.on('status', (ended: StatusObject) => {
    if (isAnswered) return;
    if (ended.code === status.OK) call.end(ended.metadata);
    else fail(call, ended);
  });
  call.on('cancelled', () => host.cancel());
  let pending: Promise<void> = Promise.resolve();
  const pass = async (message: Buffer) => {
    const verdict = await judge(path, message);
    if ('forward' in verdict) return void host.write(verdict.forward);
    isAnswered = true;
    call.write(verdict.answer);
    call.end();
    host.cancel();
  };
  const refuse = (error: unknown) => {
    isAnswered = true;
    host.cancel();
    fail(call, { code: status.INTERNAL, details: `the forwarding host failed: ${String(error)}` });
  };
  call.on('data', (message: Buffer) => (pending = pending.then(() => pass(message)).catch(refuse)));
  call.on('end', () => void pending.then(() => isAnswered || host.end()));
}

/** Forwards every call to the host at `port` of the loopback; `Run` passes the gate first. */
export function forwardTo(port: number): UntypedServiceImplementation {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), MESSAGE_LIMITS);
  return Object.fromEntries(
    Object.entries(forwardedService).map(([name, { path }]) => [name, (call: Call) => forwardCall(client, path, call)]),
  );
}
