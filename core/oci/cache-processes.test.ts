import { execFile } from 'node:child_process';
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, it } from 'vitest';
import { makeFolder } from './test-tar.ts';

const run = promisify(execFile);
const WORKER = join(import.meta.dirname, 'cache-worker.fixture.ts');
const PROCESSES = 4;
const ROUNDS = 60;

it('processes that share a cache and evict from it find everything whole', { timeout: 90_000 }, async () => {
  const dir = await makeFolder();
  const ended = await Promise.all(
    Array.from({ length: PROCESSES }, () => run(process.execPath, [WORKER, dir, `${ROUNDS}`, '500'])),
  );
  const results = ended.map(({ stdout }) => JSON.parse(stdout) as { found: number; anew: number });
  for (const { found } of results) expect(found).toBe(ROUNDS * 5);
  // There was something to lose: nothing evicted would mean that each of the 40 programs was fetched once.
  expect(results.reduce((sum, { anew }) => sum + anew, 0)).toBeGreaterThan(42);
  expect((await readdir(join(dir, 'shop'))).filter((name) => name.startsWith('.tmp-'))).toEqual([]);
});
