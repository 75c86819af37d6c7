import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { execTraits, printsState } from '../domain/exec-command.ts';
import { transient } from '../domain/errors.ts';
import { engineStackName } from './backends.ts';
import { lockedError, withoutOwnLocks } from './locks.ts';
import type { EngineRequest, ExecRequest, ExecResult } from './port.ts';
import { runEngine } from './run-engine.ts';
import { prepareRequest, scrubbedOutput, writeRequestSettings, type VersionedEngine } from './session.ts';

/** A state larger than this is not handed out: half of the limit of one stream is kept (output.ts). */
const MAX_STATE_BYTES = 64 * 1024 * 1024;

async function argumentsOf(request: EngineRequest, { command, input }: ExecRequest): Promise<string[]> {
  const { added, settings } = execTraits(command);
  const file = join(request.runDir, 'exec-input.json');
  if (input !== undefined) await writeFile(file, input, { mode: 0o600 });
  return [
    ...command,
    ...added,
    ...(input === undefined ? [] : ['--file', file]),
    ...(settings ? ['--config-file', await writeRequestSettings(request)] : []),
    '--stack',
    engineStackName(request.identity),
    '--color=never',
    '--non-interactive',
  ];
}

async function execOnce(
  engine: VersionedEngine,
  request: EngineRequest,
  exec: ExecRequest,
  args: string[],
): Promise<ExecResult> {
  const keeps = printsState(exec.command);
  const output = scrubbedOutput(engine, request);
  const result = await runEngine(engine, request, {
    args,
    extraEnvironment: {},
    timeoutMs: request.timeoutMs,
    maxOutputBytes: keeps ? 2 * MAX_STATE_BYTES : engine.maxOutputBytes,
    // A state is for who asked for it, not for the log.
    onOutput: keeps ? () => undefined : output.write,
  });
  output.end();
  // An event stream is not asked for, so what the engine says is all there is; a refusal to begin comes before anything else.
  const locked = result.code === 0 ? undefined : lockedError(engine.scrubber.scrub(result.stderr), request.identity);
  if (locked !== undefined) throw locked;
  if (keeps && result.truncated)
    throw transient(
      'OutputTooLarge',
      `the state is larger than ${MAX_STATE_BYTES / 2 ** 20} MiB; read it with the tools of its backend`,
    );
  if (keeps && result.code !== 0) request.onOutput(engine.scrubber.scrub(result.stderr));
  return { code: result.code, state: keeps && result.code === 0 ? result.stdout : undefined };
}

/**
 * Runs one allowed command of the engine by hand: `--stack` and what keeps it from asking are added. What it prints goes to the
 * request's output, scrubbed; a printed state is returned instead, its secrets still encrypted.
 * @throws ReconcileError waiting(StateLocked), and those of `runEngineProcess`
 */
export async function execCommand(
  engine: VersionedEngine,
  request: EngineRequest,
  exec: ExecRequest,
): Promise<ExecResult> {
  await prepareRequest(engine, request);
  const args = await argumentsOf(request, exec);
  try {
    return await withoutOwnLocks(engine, request, () => execOnce(engine, request, exec, args));
  } finally {
    await rm(join(request.runDir, 'exec-input.json'), { force: true });
  }
}
