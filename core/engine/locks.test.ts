import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { lockedError, lockKey, releaseOwnLocks, reportedLocks, runHostname } from './locks.ts';
import { readStateFile, stateFolder } from './state-files.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'state-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const identity = () => ({ backend: `file://${dir}`, organization: 'organization', project: 'shop', stack: 'prod' });
const locks = () => join(dir, '.pulumi/locks/organization/shop/prod');

async function lock(name: string, hostname: string) {
  await mkdir(locks(), { recursive: true });
  await writeFile(
    join(locks(), `${name}.json`),
    JSON.stringify({ pid: 7, username: 'ann', hostname, timestamp: '2026-01-01' }),
  );
  await writeFile(join(locks(), `${name}.json.attrs`), '{}');
}

it('removes the locks of its own dead runs and leaves every other', async () => {
  await lock('a', runHostname('run-1'));
  await lock('b', runHostname('run-2'));
  await lock('c', 'laptop');
  expect(await releaseOwnLocks(identity(), ['run-1'])).toBe(
    'ann@plumb-run-2 (pid 7) since 2026-01-01, ann@laptop (pid 7) since 2026-01-01',
  );
  expect((await readdir(locks())).sort()).toEqual(['b.json', 'b.json.attrs', 'c.json', 'c.json.attrs']);
});

it('says nobody holds a lock when there is none', async () => {
  expect(await releaseOwnLocks(identity(), ['run-1'])).toBeUndefined();
  await lock('a', runHostname('run-1'));
  expect(await releaseOwnLocks(identity(), ['run-1'])).toBeUndefined();
});

it('does not look into backends that are no folder', async () => {
  expect(stateFolder('s3://bucket/x')).toBeUndefined();
  expect(await releaseOwnLocks({ ...identity(), backend: 's3://bucket' }, ['run-1'])).toBeUndefined();
});

it('reads a state as it is, packed, or not there', async () => {
  const folder = stateFolder(`file://${dir}?metadata=skip`) ?? '';
  expect(await readStateFile(folder, identity())).toBeUndefined();
  await mkdir(join(folder, 'stacks/shop'), { recursive: true });
  await writeFile(join(folder, 'stacks/shop/prod.json.gz'), gzipSync('{"packed":true}'));
  expect(await readStateFile(folder, identity())).toBe('{"packed":true}');
  await writeFile(join(folder, 'stacks/shop/prod.json'), '{}');
  expect(await readStateFile(folder, identity())).toBe('{}');
});

it.each([
  ['a cut one', 'prod.json.gz', gzipSync('{"packed":true}').subarray(0, 20)],
  ['one that is not packed at all', 'prod.json.zst', Buffer.from('{}')],
])('says of %s that the state is invalid', async (_name, file, bytes) => {
  const folder = stateFolder(`file://${dir}`) ?? '';
  await mkdir(join(folder, 'stacks/shop'), { recursive: true });
  await writeFile(join(folder, 'stacks/shop', file), bytes);
  await expect(readStateFile(folder, identity())).rejects.toMatchObject({ kind: 'stalled', reason: 'StateInvalid' });
});

const uuid = '2b1f0a52-6c1e-4b7e-9f0a-0123456789ab';
const report = (count: number, ...lines: string[]) =>
  `error: the stack is currently locked by ${count} lock(s). Either wait for the other process(es) to end or delete the lock file with \`pulumi cancel\`.\n${lines.join('\n')}\n`;
const line = (hostname: string, url = `s3://b/base/.pulumi/locks/organization/shop/prod/${uuid}.json?region=x`) =>
  `  ${url}: created by root@${hostname} (pid 12) at 2026-11-24T14:00:00Z`;

it('reads who the engine says holds a lock', () => {
  expect(reportedLocks('something else')).toBeUndefined();
  expect(reportedLocks(report(2, line('plumb-run-1'), line('laptop')))).toEqual({
    count: 2,
    locks: ['plumb-run-1', 'laptop'].map((hostname) => ({
      name: `${uuid}.json`,
      username: 'root',
      hostname,
      pid: 12,
      timestamp: '2026-11-24T14:00:00Z',
    })),
  });
});

it.each([
  ['a name that leads elsewhere', line('plumb-run-1', 's3://b/.pulumi/stacks/shop/prod.json')],
  ['a line cut short', '  s3://b/x'],
])('does not count %s among the locks it knows', (_name, written) => {
  expect(reportedLocks(report(1, written))).toEqual({ count: 1, locks: [] });
});

it.each([
  ['s3://b', '.pulumi/locks/organization/shop/prod/x.json'],
  ['s3://b/base/acme/?region=x', 'base/acme/.pulumi/locks/organization/shop/prod/x.json'],
  ['postgres://h/states?table=t', 'states/.pulumi/locks/organization/shop/prod/x.json'],
])('finds the object of a lock in %s', (backend, key) => {
  expect(lockKey({ ...identity(), backend }, 'x.json')).toBe(key);
});

it('waits for a foreign lock, and says who holds it, since when and where', () => {
  const error = lockedError(report(1, line('laptop')), { ...identity(), backend: 's3://b/base' });
  expect(error).toMatchObject({ kind: 'waiting', reason: 'StateLocked', retryAfterMs: expect.any(Number) });
  expect(error?.message).toContain(
    `root@laptop (pid 12) since 2026-11-24T14:00:00Z by base/.pulumi/locks/organization/shop/prod/${uuid}.json`,
  );
  expect(lockedError('error: no such host', identity())).toBeUndefined();
});

it('waits for an update a service has under way, in the words of the service', () => {
  const error = lockedError('error: [409] Conflict: Another update is currently in progress.\n', {
    ...identity(),
    backend: 'https://api.pulumi.com',
  });
  expect(error).toMatchObject({ kind: 'waiting', reason: 'StateLocked' });
  expect(error?.message).toContain('Another update is currently in progress');
});
