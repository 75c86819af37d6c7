import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LocalWorkspace, Stack as PulumiStack } from '@pulumi/pulumi/automation/index.js';
import type { Scrubber } from '../scrubber.ts';
import { engineStackName, isService } from './backends.ts';
import { createPulumiCommand, EngineCommandError } from './command.ts';
import { isComplete, newEventLog, recordEvent, type EngineEvent, type EventLog } from './events.ts';
import { classifyFailure, eventsIncomplete, type EngineOperation } from './failures.ts';
import { lockedError, withoutOwnLocks } from './locks.ts';
import type { EngineRequest } from './port.ts';
import { runFolders } from './environment.ts';
import { watchCreates } from './open-creates.ts';
import { runEngine, type EngineOptions } from './run-engine.ts';
import { PROVIDER_LIMIT_MS, providerFailed } from './secrets-provider.ts';
import { writeSettings } from './settings.ts';
import { stateFolder } from './state-files.ts';

/** A state of 100,000 resources is about half of this; the engine's process runner keeps half of its limit of one stream. */
const MAX_EXPORT_BYTES = 512 * 1024 * 1024;

/** The engine with the version it says it has. */
export type VersionedEngine = EngineOptions & { version: string };

/** Options of the Automation API that every operation takes. */
export interface CommonOptions {
  color: 'never';
  configFile: string;
  suppressProgress: true;
  onOutput(text: string): void;
  /** Typed loosely: the API's own event types lack what the stream holds. */
  onEvent(event: object): void;
  target?: string[];
}

/** One operation of the engine: what is asked, and how many phases its stream of events must have. */
export interface Operation {
  operation: EngineOperation;
  phases: number;
  extra?: string[];
  environment?: Record<string, string>;
  /** What a failure is, seen with its events; it is thrown as it comes when undefined. */
  explain?(log: EventLog, error: unknown): unknown;
  run(stack: PulumiStack, options: CommonOptions): Promise<unknown>;
}

/** Everything that stays the same over the operations of one request. */
export interface Session {
  run(operation: Operation): Promise<EventLog>;
  /** Runs a command beside the operations and returns what it printed. */
  print(args: string[]): Promise<string>;
}

/** The worker registers what it reads; this holds for callers that do not, and costs nothing twice. */
function registerSecrets(scrubber: Scrubber, request: EngineRequest): void {
  scrubber.register(request.passphrase);
  scrubber.register(URL.parse(request.identity.backend)?.password ?? '');
  for (const { value, secret } of Object.values(request.config)) {
    if (secret) scrubber.register(typeof value === 'string' ? value : JSON.stringify(value));
  }
}

/** Folders that must be there before the sandbox shows them. */
async function makeFolders({ runDir, identity }: EngineRequest): Promise<void> {
  const state = stateFolder(identity.backend);
  const { home, pulumiHome, temp } = runFolders(runDir);
  const folders = [home, pulumiHome, temp, ...(state === undefined ? [] : [dirname(state)])];
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 });
}

interface Context {
  engine: VersionedEngine;
  request: EngineRequest;
  /** By the monotonic clock, in milliseconds; one for all processes of the request. */
  deadline: number;
  configFile: string;
}

interface Output {
  limit: number;
  onOutput(text: string): void;
}

function execute(context: Context, args: string[], extraEnvironment: Record<string, string>, output: Output) {
  return runEngine(context.engine, context.request, {
    args,
    extraEnvironment,
    timeoutMs: Math.max(1, context.deadline - performance.now()),
    maxOutputBytes: output.limit,
    onOutput: output.onOutput,
  });
}

async function openStack(context: Context, operation: Operation): Promise<PulumiStack> {
  const { engine, request } = context;
  const pulumiCommand = createPulumiCommand({
    command: join(engine.engineDir, 'pulumi'),
    version: engine.version,
    extra: operation.extra ?? [],
    execute: (args, onOutput) =>
      execute(context, args, operation.environment ?? {}, { limit: engine.maxOutputBytes, onOutput }),
  });
  const workspace = await LocalWorkspace.create({ workDir: request.programDir, pulumiCommand, envVars: {} });
  return PulumiStack.select(engineStackName(request.identity), workspace);
}

function failure({ engine, request }: Context, operation: EngineOperation, log: EventLog, thrown: unknown): unknown {
  if (!(thrown instanceof EngineCommandError)) return thrown;
  const { code, stdout, stderr } = thrown.result;
  const scrub = (said: string) => engine.scrubber.scrub(said);
  const mayBeLocked = log.phases.length === 0 || (log.phases.length === 1 && isService(request.identity.backend));
  const locked = mayBeLocked ? lockedError(scrub(`${stdout}\n${stderr}`), request.identity) : undefined;
  if (locked !== undefined) return locked;
  return classifyFailure({ operation, code, log, scrub, text: `${stdout}\n${stderr}`, programDir: request.programDir });
}

/** The engine waits for a provider of the state's secrets without a limit, before its first event. */
function watchProvider(context: Context): { context: Context; opened(): void } {
  const { engine, request } = context;
  const { provider } = request.settings;
  if (provider === undefined) return { context, opened: () => undefined };
  const silent = new AbortController();
  const limitMs = engine.secretsProviderMs ?? PROVIDER_LIMIT_MS;
  const timer = setTimeout(
    () => silent.abort(providerFailed(provider, `no answer within ${limitMs / 1000} s`)),
    limitMs,
  );
  const signal = AbortSignal.any([request.signal, silent.signal]);
  return { context: { ...context, request: { ...request, signal } }, opened: () => clearTimeout(timer) };
}

/** Hands on what the engine says without its secrets; an end that may begin one is held back until `end`. */
export function scrubbedOutput(
  { scrubber }: Pick<EngineOptions, 'scrubber'>,
  request: Pick<EngineRequest, 'onOutput'>,
): { write(text: string): void; end(): void } {
  const stream = scrubber.stream();
  const pass = (text: string) => {
    if (text !== '') request.onOutput(text);
  };
  return { write: (text) => pass(stream.write(text)), end: () => pass(stream.end()) };
}

async function runOperation(context: Context, operation: Operation): Promise<EventLog> {
  const { engine, request, configFile } = context;
  const log = newEventLog();
  const output = scrubbedOutput(engine, request);
  const watch = watchProvider(context);
  const creates = watchCreates(request.guard, log);
  try {
    await operation.run(await openStack(watch.context, operation), {
      color: 'never',
      configFile,
      suppressProgress: true,
      onOutput: output.write,
      // The stream's JSON as apitype/events.go writes it; the engine is the one trusted source of it.
      onEvent: (event) => {
        watch.opened();
        recordEvent(log, event as EngineEvent);
        creates.see(event as EngineEvent);
      },
      ...(request.targets.length === 0 ? {} : { target: request.targets }),
    });
  } catch (thrown) {
    const error = failure(context, operation.operation, log, thrown);
    throw operation.explain === undefined ? error : operation.explain(log, error);
  } finally {
    watch.opened();
    output.end();
    await creates.settled();
  }
  if (!isComplete(log, operation.phases)) throw eventsIncomplete(operation.operation);
  return log;
}

async function printed(context: Context, args: string[]): Promise<string> {
  const output = { limit: MAX_EXPORT_BYTES, onOutput: () => undefined };
  const result = await execute(context, [...args, '--non-interactive'], {}, output);
  if (result.code !== 0) throw failure(context, 'state', newEventLog(), new EngineCommandError(result));
  return result.stdout;
}

function settingsFile({ runDir }: EngineRequest): string {
  return join(runDir, 'settings.yaml');
}

/** Writes the settings file of a request, and says where. */
export async function writeRequestSettings(request: EngineRequest): Promise<string> {
  const configFile = settingsFile(request);
  const { identity, programDir, passphrase, config, settings: secrets } = request;
  await writeSettings(configFile, { ...identity, programDir, secrets, passphrase, config });
  return configFile;
}

/** Registers what is secret and makes the folders that must be there before the sandbox shows them. */
export async function prepareRequest(engine: EngineOptions, request: EngineRequest): Promise<void> {
  registerSecrets(engine.scrubber, request);
  await makeFolders(request);
}

/** Makes the run's folders; each operation after it starts one engine process. */
export async function openSession(engine: VersionedEngine, request: EngineRequest): Promise<Session> {
  const context = {
    engine,
    request,
    configFile: settingsFile(request),
    deadline: performance.now() + request.timeoutMs,
  };
  await prepareRequest(engine, request);
  // Once, and only for operations: a look at the state may happen while another process reads the file.
  let settings: Promise<string> | undefined;
  return {
    async run(operation) {
      await (settings ??= writeRequestSettings(request));
      return withoutOwnLocks(engine, request, () => runOperation(context, operation));
    },
    print: (args) => withoutOwnLocks(engine, request, () => printed(context, args)),
  };
}
