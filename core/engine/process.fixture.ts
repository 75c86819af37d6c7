/**
 * A worker that runs one shell script in the sandbox, for tests that kill it. The script and its folder are two lines of
 * standard input: on the command line, the tests' search would find them in the worker itself.
 */
import { text } from 'node:stream/consumers';
import { runEngineProcess } from './process.ts';

const [script = '', runDir = ''] = (await text(process.stdin)).split('\n');

await runEngineProcess({
  command: '/bin/bash',
  args: ['-c', script],
  cwd: runDir,
  env: { PATH: '/usr/bin:/bin' },
  runId: 'fixture',
  sandbox: { writableDirs: [runDir], readOnlyDirs: [], hiddenDirs: [] },
  guard: { started: async () => undefined, ended: async () => undefined, remainingMs: () => 2_000 },
  timeoutMs: 60_000,
  signal: new AbortController().signal,
  maxOutputBytes: 10_000,
  onOutput: () => undefined,
  isolation: 'namespaces',
});
