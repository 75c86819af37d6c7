import { mkdir, readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { Reason } from '#core/domain/reason.ts';
import type { TestPlumbline } from '../harness/plumbline.ts';
import { programFiles, startOnRealEngine } from './whole-path.ts';

let plumbline: TestPlumbline;
let files: Record<string, string>;
let filesDir: string;
let good: string;
let version = 0;

const file = (name: string, text: string) =>
  `import { TextFile } from './text-file.ts';\nnew TextFile('${name}', { name: '${name}', text: '${text}' });\n`;
const push = (stack: string, program: string) => plumbline.push({ ...files, 'index.ts': program }, 'prod', stack);
const world = async () => [
  await readFile(join(filesDir, 'shop'), 'utf8'),
  await readFile(join(filesDir, 'blog'), 'utf8'),
];

/** Pushes the next version of a stack's one file. */
async function advance(stack: string): Promise<string> {
  const newest = (await plumbline.runs(stack))[0]?.number ?? 0;
  const digest = await push(stack, file(stack, `version ${version}`));
  // Applied again it changes nothing, unless a test gave the stack another time limit.
  await follow(stack);
  await plumbline.untilRun(stack, ['applied'], newest);
  return digest;
}

const follow = (stack: string, change: Partial<StackSpec> = {}) =>
  plumbline.stack(stack, {
    approval: { mode: 'auto' },
    pulumi: { stack, environment: { FILES_DIR: filesDir } },
    retry: { interval: '1h' },
    ...change,
  });

beforeAll(async () => {
  plumbline = await startOnRealEngine();
  files = await programFiles('test/e2e/programs/files');
  // Below the state, because a run may write to nothing else that stays.
  filesDir = join(plumbline.deps.config.dataDir, 'state', plumbline.tenant, 'files');
  await mkdir(filesDir, { recursive: true });
  for (const stack of ['shop', 'blog']) await follow(stack);
  [good = ''] = await Promise.all(['shop', 'blog'].map(advance));
});
afterAll(() => plumbline.close());

/** Holds Plumbline to its promise about a program that was just pushed: `newest` is the run before. */
async function expectHarmless(newest: number, reason: Reason, says: (string | RegExp)[]): Promise<void> {
  const before = await world();
  await plumbline.untilRun('shop', ['errored'], newest);
  const { message } = await plumbline.untilCondition('shop', 'Ready', reason);
  for (const text of says) expect(message).toMatch(text);
  const failed = await plumbline.untilEvent('shop', 'RunFailed');
  expect(failed).toMatchObject({ severity: 'error', reason, message });
  expect((await plumbline.view('shop')).status.applied?.digest).toBe(good);
  expect(await world()).toEqual(before);
  await plumbline.until('nothing to be left of the run', async () =>
    (await readdir(join(plumbline.deps.config.dataDir, 'runs'))).length === 0 ? true : undefined,
  );

  version += 1;
  [good = ''] = await Promise.all(['shop', 'blog'].map(advance));
  expect(await world()).toEqual([`version ${version}`, `version ${version}`]);
  expect(await readdir(filesDir)).not.toContain('evil');
}

const bad = async (program: string) => {
  const newest = (await plumbline.runs('shop'))[0]?.number ?? 0;
  await push('shop', `${program}\n${file('evil', 'x')}`);
  return newest;
};

it('a program that throws: the stack says what and where, nothing is applied, the next stack goes on, a fix is applied', async () => {
  const newest = await bad(`throw new Error('no region is set');`);
  await expectHarmless(newest, 'PreviewFailed', [/no region is set\n\s+at index\.ts:/]);
});

it('a program that exits: the stack says with which code, and the same holds', async () => {
  await expectHarmless(await bad(`process.exit(3);`), 'PreviewFailed', ['non-zero exit code: 3']);
});

it('a program that hangs past its timeout is stopped, the stack says so, and the same holds', async () => {
  // Suspended meanwhile, because the good program may need longer than this on a busy machine.
  await follow('shop', { suspend: true, timeouts: { plan: '8s' } });
  const newest = await bad(`await new Promise((resolve) => setTimeout(resolve, 3_600_000));`);
  await follow('shop', { timeouts: { plan: '8s' } });
  await expectHarmless(newest, 'TimedOut', [
    'stopped at its time limit',
    'See what the program waits for, or raise spec.timeouts',
  ]);
});
