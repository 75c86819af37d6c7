import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LocalWorkspace, Stack as PulumiStack } from '@pulumi/pulumi/automation/index.js';
import type { Scrubber } from '../scrubber.ts';
import { createPulumiCommand, EngineCommandError } from './command.ts';
import { isComplete, newEventLog, recordEvent, type EngineEvent, type EventLog } from './events.ts';
import { classifyFailure, eventsIncomplete, type EngineOperation } from './failures.ts';
import type { EngineRequest } from './port.ts';
import { runFolders } from './environment.ts';
import { runEngine, type EngineOptions } from './run-engine.ts';
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
  return PulumiStack.select(request.identity.stack, workspace);
}

function failure({ engine, request }: Context, operation: EngineOperation, log: EventLog, thrown: unknown): unknown {
  if (!(thrown instanceof EngineCommandError)) return thrown;
  const { code, stdout, stderr } = thrown.result;
  const scrub = (said: string) => engine.scrubber.scrub(said);
  return classifyFailure({ operation, code, log, scrub, text: `${stdout}\n${stderr}`, programDir: request.programDir });
}

async function runOperation(context: Context, operation: Operation): Promise<EventLog> {
  const { engine, request, configFile } = context;
  const log = newEventLog();
  const output = engine.scrubber.stream();
  const pass = (text: string) => {
    if (text !== '') request.onOutput(text);
  };
  try {
    await operation.run(await openStack(context, operation), {
      color: 'never',
      configFile,
      suppressProgress: true,
      onOutput: (text) => pass(output.write(text)),
      // The stream's JSON as apitype/events.go writes it; the engine is the one trusted source of it.
      onEvent: (event) => recordEvent(log, event as EngineEvent),
      ...(request.targets.length === 0 ? {} : { target: request.targets }),
    });
  } catch (thrown) {
    throw failure(context, operation.operation, log, thrown);
  } finally {
    pass(output.end());
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

/** Makes the run's folders; each operation after it starts one engine process. */
export async function openSession(engine: VersionedEngine, request: EngineRequest): Promise<Session> {
  const configFile = join(request.runDir, 'settings.yaml');
  const context = { engine, request, configFile, deadline: performance.now() + request.timeoutMs };
  registerSecrets(engine.scrubber, request);
  await makeFolders(request);
  // Once, and only for operations: a look at the state may happen while another process reads the file.
  let settings: Promise<void> | undefined;
  const { identity, programDir, passphrase, config } = request;
  const { encryptionSalt } = request.settings;
  return {
    async run(operation) {
      await (settings ??= writeSettings(configFile, { ...identity, programDir, encryptionSalt, passphrase, config }));
      return runOperation(context, operation);
    },
    print: (args) => printed(context, args),
  };
}
