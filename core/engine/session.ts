import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { LocalWorkspace, Stack as PulumiStack } from '@pulumi/pulumi/automation/index.js';
import { ReconcileError, transient } from '../domain/errors.ts';
import { createPulumiCommand, EngineCommandError, type CommandResult, type ExecuteCommand } from './command.ts';
import { isComplete, newEventLog, recordEvent, type EngineEvent, type EventLog } from './events.ts';
import { classifyFailure, eventsIncomplete, timedOut, type EngineOperation } from './failures.ts';
import { createOutputSink, createScrub, createTail } from './scrubbed-output.ts';
import type { EngineRequest } from './port.ts';
import { engineEnvironment } from './run-environment.ts';
import { runEngine, type EngineOptions } from './run-engine.ts';
import { writeSettings } from './settings.ts';

/** End of each stream that is kept for a failure's message. */
const TAIL_CHARS = 64 * 1024;
/** A state of 100,000 resources is about half of this. */
const MAX_EXPORT_CHARS = 512 * 1024 * 1024;

/** Options of the Automation API that every operation takes. */
export interface CommonOptions {
  color: 'never';
  configFile: string;
  suppressProgress: true;
  onOutput(text: string): void;
  onError(text: string): void;
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

/** An aborted run ends with the reason of its signal: a lost lease or a person's cancel. */
function interrupted(signal: AbortSignal): ReconcileError {
  if (signal.reason instanceof ReconcileError) return signal.reason;
  return transient('Interrupted', 'the run was interrupted while the engine was at work', signal.reason);
}

/** Makes the run's folders and settings; each operation after it starts one engine process. */
export async function openSession(engine: EngineOptions & { version: string }, request: EngineRequest): Promise<Session> {
  const { runDir, programDir, identity } = request;
  const configFile = join(runDir, 'settings.yaml');
  const deadline = performance.now() + request.timeoutMs;
  const scrub = createScrub(secretsOf(request));
  for (const folder of ['home', 'tmp']) await mkdir(join(runDir, folder), { recursive: true, mode: 0o700 });
  await writeSettings(configFile, {
    ...identity,
    programDir,
    encryptionSalt: request.settings.encryptionSalt,
    passphrase: request.passphrase,
    config: request.config,
  });

  function executor(operation: EngineOperation, environment: Record<string, string>): ExecuteCommand {
    return async (args, output): Promise<CommandResult> => {
      const limit = args[1] === 'export' ? MAX_EXPORT_CHARS : TAIL_CHARS;
      const stdout = createTail(limit);
      const stderr = createTail(TAIL_CHARS);
      const ended = await runEngine(engine, request, {
        args,
        environment: { ...engineEnvironment(engine, request), ...environment },
        timeoutMs: Math.max(0, deadline - performance.now()),
        onStdout: (text) => (stdout.add(text), output.onStdout(text)),
        onStderr: (text) => (stderr.add(text), output.onStderr(text)),
      });
      if (request.signal.aborted) throw interrupted(request.signal);
      if (ended.timedOut) throw timedOut(operation, request.timeoutMs);
      return { code: ended.code, stdout: stdout.text(), stderr: stderr.text() };
    };
  }

  async function openStack(operation: Pick<Operation, 'operation' | 'environment' | 'extra'>): Promise<PulumiStack> {
    const pulumiCommand = createPulumiCommand({
      command: join(engine.engineDir, 'pulumi'),
      version: engine.version,
      extra: operation.extra ?? [],
      execute: executor(operation.operation, operation.environment ?? {}),
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
      const sink = createOutputSink({ limit: engine.maxOutputBytes, scrub, emit: (text) => request.onOutput(text) });
      const write = (text: string) => sink.write(text);
      try {
        await operation.run(await openStack(operation), {
          color: 'never',
          configFile,
          suppressProgress: true,
          onOutput: write,
          onError: write,
          // The stream's JSON as apitype/events.go writes it; the engine is the one trusted source of it.
          onEvent: (event) => recordEvent(log, event as EngineEvent),
          ...(request.targets.length === 0 ? {} : { target: request.targets }),
        });
      } catch (thrown) {
        throw failure(operation.operation, log, thrown);
      } finally {
        sink.flush();
      }
      if (!isComplete(log, operation.phases)) throw eventsIncomplete(operation.operation);
      return log;
    },
    async print(args) {
      const ignore = () => undefined;
      const result = await executor('state', {})([...args, '--non-interactive'], { onStdout: ignore, onStderr: ignore });
      if (result.code !== 0) throw failure('state', newEventLog(), new EngineCommandError(result));
      return result.stdout;
    },
  };
}
