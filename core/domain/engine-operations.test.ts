import { execFileSync } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { OP_DANGER } from './approval.ts';
import { KNOWN_OPS } from './plan.ts';

/** The engine's own list, where its source is: it was built from there, or it was downloaded. */
function engineSource(): string | undefined {
  try {
    const cache = execFileSync('go', ['env', 'GOMODCACHE'], { encoding: 'utf8' }).trim();
    const folder = join(cache, 'github.com/pulumi/pulumi/sdk/v3@v3.259.0/go/common/apitype');
    return existsSync(folder) ? folder : undefined;
  } catch {
    return undefined;
  }
}

const folder = engineSource();

it.skipIf(folder === undefined)('the table of operations is exactly the list of the engine', () => {
  const text = readdirSync(folder ?? '')
    .filter((name) => name.endsWith('.go'))
    .map((name) => readFileSync(join(folder ?? '', name), 'utf8'))
    .join('\n');
  const listed = [...text.matchAll(/^\s*Op\w+\s+OpType = "([a-z-]+)"/gm)].map(([, op]) => op);
  expect(listed.length).toBeGreaterThan(10);
  expect(new Set<string | undefined>(KNOWN_OPS)).toEqual(new Set(listed));
});

it('every operation of the list has its place in the table', () => {
  expect(Object.keys(OP_DANGER).sort()).toEqual([...KNOWN_OPS].sort());
});
