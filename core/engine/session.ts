import { mkdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { LocalWorkspace, Stack as PulumiStack } from '@pulumi/pulumi/automation/index.js';
import { createPulumiCommand, EngineCommandError } from './command.ts';
import { isComplete, newEventLog, recordEvent, type EngineEvent, type EventLog } from './events.ts';
import { classifyFailure, eventsIncomplete, type EngineOperation } from './failures.ts';
import { createScrub, createScrubbedOutput } from './scrubbed-output.ts';
import type { EngineRequest } from './port.ts';
import { engineEnvironment } from './run-environment.ts';
import { runEngine, type EngineOptions } from './run-engine.ts';
import { writeSettings } from './settings.ts';
import { stateFolder } from './state-files.ts';

/** A state of 100,000 resources is about half of this; the engine's process runner keeps half of its limit of one stream. */
const MAX_EXPORT_BYTES = 512 * 1024 * 1024;

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

function secretsOf(request: EngineRequest): string[] {
  const config = Object.values(request.config).filter((item) => item.secret);
  return [request.passphrase, ...config.map(({ value }) => (typeof value === 'string' ? value : JSON.stringify(value)))];
}

/** Makes the run's folders and settings; each operation after it starts one engine process. */
export async function openSession(engine: EngineOptions & { version: string }, request: EngineRequest): Promise<Session> {
  const { runDir, programDir, identity } = request;
  const configFile = join(runDir, 'settings.yaml');
  const deadline = performance.now() + request.timeoutMs;
  const own = createScrub(secretsOf(request));
  const scrub = (text: string) => engine.scrub(own(text));
  const state = stateFolder(identity.backend);
  const folders = [join(runDir, 'home'), join(runDir, 'tmp'), ...(state === undefined ? [] : [dirname(state)])];
  for (const folder of folders) await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeSettings(configFile, {
    ...identity,
    programDir,
    encryptionSalt: request.settings.encryptionSalt,
    passphrase: request.passphrase,
    config: request.config,
  });

  const run = (args: string[], environment: Record<string, string>, output: { limit: number; onOutput(text: string): void }) =>
    runEngine(engine, request, {
      args,
      environment: { ...engineEnvironment(engine, request), ...environment },
      timeoutMs: Math.max(1, deadline - performance.now()),
      maxOutputBytes: output.limit,
      onOutput: output.onOutput,
    });

  async function openStack(operation: Pick<Operation, 'operation' | 'environment' | 'extra'>): Promise<PulumiStack> {
    const pulumiCommand = createPulumiCommand({
      command: join(engine.engineDir, 'pulumi'),
      version: engine.version,
      extra: operation.extra ?? [],
      execute: (args, onOutput) => run(args, operation.environment ?? {}, { limit: engine.maxOutputBytes, onOutput }),
    });
    const workspace = await LocalWorkspace.create({ workDir: programDir, pulumiCommand, envVars: {} });
    return PulumiStack.select(identity.stack, workspace);
  }

  function failure(operation: EngineOperation, log: EventLog, thrown: unknown): unknown {
    if (!(thrown instanceof EngineCommandError)) return thrown;
    const { code, stdout, stderr } = thrown.result;
    return classifyFailure({ operation, code, log, scrub, text: `${stdout}\n${stderr}`.replaceAll(`${programDir}/`, '') });
  }

  return {
    async run(operation) {
      const log = newEventLog();
      const output = createScrubbedOutput(scrub, (text) => request.onOutput(text));
      try {
        await operation.run(await openStack(operation), {
          color: 'never',
          configFile,
          suppressProgress: true,
          onOutput: (text) => output.write(text),
          // The stream's JSON as apitype/events.go writes it; the engine is the one trusted source of it.
          onEvent: (event) => recordEvent(log, event as EngineEvent),
          ...(request.targets.length === 0 ? {} : { target: request.targets }),
        });
      } catch (thrown) {
        throw failure(operation.operation, log, thrown);
      } finally {
        output.flush();
      }
      if (!isComplete(log, operation.phases)) throw eventsIncomplete(operation.operation);
      return log;
    },
    async print(args) {
      const result = await run([...args, '--non-interactive'], {}, { limit: MAX_EXPORT_BYTES, onOutput: () => undefined });
      if (result.code !== 0) throw failure('state', newEventLog(), new EngineCommandError(result));
      return result.stdout;
    },
  };
}
