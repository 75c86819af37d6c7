import { runEngineProcess, type EngineProcessOptions, type EngineProcessResult } from './process.ts';

/** A process of the sandbox that belongs to no lease: an installer. */
export type ToolProcess = Pick<
  EngineProcessOptions,
  'command' | 'args' | 'cwd' | 'env' | 'sandbox' | 'timeoutMs' | 'signal'
>;
export type ToolRunner = (tool: ToolProcess) => Promise<EngineProcessResult>;

/** An installer outlives a worker that is gone or stopped by at most this. */
const WORKER_SILENCE_MS = 30_000;

const MAX_OUTPUT_BYTES = 256 * 1024;

/**
 * Runs installers, which read what strangers wrote, in the same sandbox as programs.
 * Errors: those of `runEngineProcess`.
 */
export function createToolRunner(options: { isolation: 'namespaces' | 'none'; hiddenDirs: string[] }): ToolRunner {
  const guard = { started: async () => undefined, ended: async () => undefined, remainingMs: () => WORKER_SILENCE_MS };
  return ({ sandbox, ...tool }) =>
    runEngineProcess({
      ...tool,
      runId: 'tool',
      sandbox: { ...sandbox, hiddenDirs: [...sandbox.hiddenDirs, ...options.hiddenDirs] },
      guard,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      onOutput: () => undefined,
      isolation: options.isolation,
    });
}
