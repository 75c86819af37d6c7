/** A worker that runs one shell script in the sandbox, for tests that kill it. Arguments come by environment. */
import { runEngineProcess } from './process.ts';

const { SCRIPT = '', RUN_DIR = '' } = process.env;

await runEngineProcess({
  command: '/bin/bash',
  args: ['-c', SCRIPT],
  cwd: RUN_DIR,
  env: { PATH: '/usr/bin:/bin' },
  runId: 'fixture',
  sandbox: { writableDirs: [RUN_DIR], readOnlyDirs: [], hiddenDirs: [] },
  guard: { started: async () => undefined, ended: async () => undefined, remainingMs: () => 2_000 },
  timeoutMs: 60_000,
  signal: new AbortController().signal,
  maxOutputBytes: 10_000,
  onOutput: () => undefined,
  isolation: 'namespaces',
});
