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
import { MESSAGE_LIMITS } from './serve.ts';

/** What becomes of one message of the engine: it goes on to the host, or is answered here. */
export type Verdict = { forward: Buffer } | { answer: Buffer };

/** What happens to the messages of one call. */
export interface CallRules {
  /** Called for each message of the engine. */
  request?(message: Buffer): Promise<Verdict>;
  /** Called for each message of the host. */
  response?(message: Buffer): Buffer;
}

/** What a relay does besides forwarding. */
export interface RelayRules {
  /** Called once for each call. */
  call(path: string): CallRules;
  /** Names the host in what is said about a call that failed. */
  name?: string;
  /** Longest time of one call; the engine's own limit when undefined. */
  limitMs?: number;
}

/** The methods a relay serves, by name. */
export type RelayService = Readonly<Record<string, { readonly path: string }>>;

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

/** A service without a view on its messages. */
export function bytesService(service: RelayService): ServiceDefinition {
  return Object.fromEntries(Object.entries(service).map(([name, { path }]) => [name, asBytes(path)]));
}

type Call = ServerDuplexStream<Buffer, Buffer>;

function fail(call: Call, failure: Partial<StatusObject>): void {
  // Emitted rather than thrown: this is how grpc-js ends a stream with a status.
  call.emit('error', { code: status.INTERNAL, details: '', ...failure });
}

function deadlineOf(call: Call, limitMs: number | undefined): Date | number {
  const given = call.getDeadline();
  return limitMs === undefined ? given : Math.min(Number(given), Date.now() + limitMs);
}

function explain({ code, details, metadata }: StatusObject, { name, limitMs }: RelayRules): Partial<StatusObject> {
  if (name === undefined) return { code, details, metadata };
  const late = code === status.DEADLINE_EXCEEDED && limitMs !== undefined;
  return { code, details: `${name}: ${late ? `no answer within ${limitMs / 1000} s` : details}`, metadata };
}

function relayCall(client: Client, path: string, call: Call, rules: RelayRules): void {
  const metadata = call.metadata.clone();
  // The relay's own is sent instead.
  metadata.remove('user-agent');
  const host = client.makeBidiStreamRequest(path, same, same, metadata, { deadline: deadlineOf(call, rules.limitMs) });
  const messages = rules.call(path);
  let isAnswered = false;
  const refuse = (error: unknown) => {
    isAnswered = true;
    host.cancel();
    fail(call, { details: `Plumbline could not forward ${path}: ${String(error)}` });
  };
  host.on('data', (message: Buffer) => {
    try {
      if (call.write(messages.response?.(message) ?? message)) return;
    } catch (error) {
      return refuse(error);
    }
    host.pause();
    call.once('drain', () => host.resume());
  });
  // The status says the same, and more.
  host.on('error', () => undefined);
  host.on('status', (ended: StatusObject) => {
    if (isAnswered) return;
    if (ended.code === status.OK) call.end(ended.metadata);
    else fail(call, explain(ended, rules));
  });
  call.on('cancelled', () => host.cancel());
  const pass = async (message: Buffer) => {
    const verdict = (await messages.request?.(message)) ?? { forward: message };
    if ('forward' in verdict) return void host.write(verdict.forward);
    isAnswered = true;
    call.write(verdict.answer);
    call.end();
    host.cancel();
  };
  let passed: Promise<void> = Promise.resolve();
  call.on('data', (message: Buffer) => (passed = passed.then(() => pass(message)).catch(refuse)));
  call.on('end', () => void passed.then(() => isAnswered || host.end()));
}

/** Forwards every call of a service to the server at `port` of the loopback. */
export function relayTo(port: number, service: RelayService, rules: RelayRules): UntypedServiceImplementation {
  const client = new Client(`127.0.0.1:${port}`, credentials.createInsecure(), MESSAGE_LIMITS);
  return Object.fromEntries(
    Object.entries(service).map(([name, { path }]) => [name, (call: Call) => relayCall(client, path, call, rules)]),
  );
}
