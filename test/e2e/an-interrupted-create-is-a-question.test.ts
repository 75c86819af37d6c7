import { execFile } from 'node:child_process';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { PendingView } from '#core/domain/view.ts';
import { startCloud, type Cloud, type CloudStep } from '../soak/cloud.ts';
import { killIfThere, runsOf, type RunVictim } from '../soak/victims.ts';
import type { TestPlumbline } from '../harness/plumbline.ts';
import { programFiles, startOnRealEngine } from './whole-path.ts';

let plumbline: TestPlumbline;
let cloud: Cloud;
let files: Record<string, string>;
beforeAll(async () => {
  plumbline = await startOnRealEngine();
  cloud = await startCloud(0);
  files = await programFiles('test/soak/program');
});
afterAll(async () => {
  await plumbline.close();
  await cloud.close();
});

type Desired = Record<string, { size: number; zone: number }>;
const thing = { size: 1, zone: 0 };

function push(stack: string, desired: Desired, extra = ''): Promise<string> {
  const program = { ...files, 'index.ts': `${extra}\n${files['index.ts']}`, 'desired.json': JSON.stringify(desired) };
  return plumbline.push(program, 'prod', stack);
}

const follow = (stack: string) =>
  plumbline.stack(stack, {
    approval: { mode: 'auto' },
    pulumi: { stack, environment: { CLOUD_URL: `${cloud.url}/${stack}` } },
  });

/** Kills a process of the stack's run once this many requests of a kind have taken effect; their answers come too late. */
function killAfter(stack: string, step: CloudStep, count: number, victim: RunVictim): void {
  let seen = 0;
  const killed = Promise.withResolvers<undefined>();
  cloud.onMoment(async (moment) => {
    if (moment.stack !== stack || moment.step !== step || moment.phase !== 'after') return false;
    if ((seen += 1) === count) {
      const pid = runsOf(stack, process.pid).find(({ operation }) => operation === 'up')?.pids[victim];
      if (pid === undefined || !killIfThere(pid)) throw new Error(`there was no ${victim} to kill`);
      killed.resolve(undefined);
      cloud.onMoment(async () => false);
    }
    await killed.promise;
    return false;
  });
}

const pendingOf = async (stack: string) =>
  (await plumbline.api<PendingView>('GET', `/v1/tenants/${plumbline.tenant}/stacks/${stack}/pending`)).body;
const idOf = (stack: string, name: string, zone = 0) =>
  [...cloud.objects(stack)].find(([, object]) => object.name === name && object.zone === zone)?.[0] ?? '';
const urnOf = (stack: string, name: string) => `urn:pulumi:${stack}::soak::pulumi-nodejs:dynamic:Resource::${name}`;
const names = (stack: string) =>
  [...cloud.objects(stack).values()].map(({ name, zone }) => `${name}/${zone}`).toSorted();

/** The one line a person writes. */
async function plumb(...args: string[]): Promise<string> {
  const env = { PATH: process.env['PATH'], PLUMBLINE_URL: plumbline.url, PLUMBLINE_TOKEN: plumbline.token };
  const cli = join(import.meta.dirname, '../../cli/plumb.ts');
  const { stdout } = await promisify(execFile)(process.execPath, [cli, ...args, '--tenant', plumbline.tenant], { env });
  return stdout;
}

it('a provider that dies before it answers: each create is asked about, wrong ids are asked again, nothing is made twice', async () => {
  killAfter('shop', 'create', 2, 'provider');
  await push('shop', { a: thing, b: thing });
  await follow('shop');
  const { message } = await plumbline.untilCondition('shop', 'Stalled', 'PendingOperations');
  expect(message).toContain('plumb pending');
  expect((await pendingOf('shop')).operations.map(({ urn }) => urn).toSorted()).toEqual(
    ['a', 'b'].map((name) => urnOf('shop', name)),
  );
  expect(await plumb('pending', 'shop')).toContain('unanswered');

  // Half an answer starts nothing.
  expect(await plumb('pending', 'shop', 'import', urnOf('shop', 'a'), idOf('shop', 'a'))).toContain('import id-');
  await plumbline.sweep();
  expect((await plumbline.view('shop')).status.pendingOperations).toBe(2);
  expect(await plumbline.runs('shop')).toHaveLength(1);

  await plumb('pending', 'shop', 'import', urnOf('shop', 'b'), 'id-of-nothing');
  const asked = await plumbline.until('the question again', async () => {
    const condition = await plumbline.condition('shop', 'Stalled');
    return condition?.message.includes('nothing exists under the id') ? condition : undefined;
  });
  expect(asked.message).toContain(urnOf('shop', 'b'));
  expect(asked.message).not.toContain(urnOf('shop', 'a'));
  expect((await pendingOf('shop')).answers.map(({ urn }) => urn)).toEqual([urnOf('shop', 'a')]);

  await plumb('pending', 'shop', 'import', urnOf('shop', 'b'), idOf('shop', 'b'));
  await plumbline.untilRun('shop', ['planned', 'applied'], 1);
  expect(await plumb('pending', 'shop')).toContain('Nothing is pending');
  expect(names('shop')).toEqual(['a/0', 'b/0']);
  expect(cloud.violations).toEqual([]);
});

it('a replacement whose engine dies: the new one is imported, and the old one goes with the next apply', async () => {
  await push('blog', { a: thing });
  await follow('blog');
  await plumbline.untilRun('blog', ['applied']);
  killAfter('blog', 'replace', 1, 'engine');
  await push('blog', { a: { size: 1, zone: 2 } });
  await plumbline.untilCondition('blog', 'Stalled', 'PendingOperations');
  expect(names('blog')).toEqual(['a/0', 'a/2']);
  await plumbline.post('blog', 'pending', { urn: urnOf('blog', 'a'), answer: 'import', id: idOf('blog', 'a', 2) });
  await plumbline.untilRun('blog', ['applied'], 2);
  expect(names('blog')).toEqual(['a/2']);
  expect(cloud.violations).toEqual([]);
});

async function running(command: string): Promise<boolean> {
  const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
  const commands = await Promise.all(pids.map((pid) => readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')));
  return commands.some((found) => found.replaceAll('\0', ' ').trim() === command);
}

it('a provider that ignores cancel is killed with the daemons its program forked, the reason says so, and the next run is unharmed', async () => {
  const [held, reached] = [Promise.withResolvers<undefined>(), Promise.withResolvers<undefined>()];
  cloud.onMoment(async ({ stack, step, phase }) => {
    if (stack !== 'slow' || step !== 'create' || phase !== 'before') return false;
    reached.resolve(undefined);
    await held.promise;
    return false;
  });
  const daemon = `import { spawn as fork } from 'node:child_process';
fork('setsid', ['sleep', '2718281828'], { detached: true, stdio: 'ignore' }).unref();`;
  await push('slow', { a: thing }, daemon);
  await follow('slow');
  await reached.promise;
  await plumbline.post('slow', 'runs/1/cancel');
  const failed = await plumbline.untilRun('slow', ['errored']);
  expect(failed).toMatchObject({ reason: 'Canceled', message: expect.stringContaining('canceled by') });
  expect(await running('sleep 2718281828')).toBe(false);
  expect(runsOf('slow', process.pid)).toEqual([]);
  held.resolve(undefined);
  expect((await pendingOf('slow')).operations).toMatchObject([{ urn: urnOf('slow', 'a'), operation: 'creating' }]);

  await push('slow', { a: thing });
  await follow('slow');
  const made = idOf('slow', 'a');
  const answer = made === '' ? { answer: 'clear' } : { answer: 'import', id: made };
  await plumbline.post('slow', 'pending', { urn: urnOf('slow', 'a'), ...answer });
  await plumbline.untilRun('slow', ['planned', 'applied'], failed.number);
  expect(names('slow')).toEqual(['a/0']);
  expect(cloud.violations).toEqual([]);
});
