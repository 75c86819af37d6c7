import { mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { releaseOwnLocks, runHostname } from './locks.ts';
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
