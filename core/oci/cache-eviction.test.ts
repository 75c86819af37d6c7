import { mkdir, readdir, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { createEvictor } from './cache-eviction.ts';
import { RECORD } from './cache-record.ts';
import { makeFolder } from './test-tar.ts';

async function addEntry(dir: string, name: string, bytes: number, ageMs: number): Promise<void> {
  const entry = join(dir, 'shop', name);
  await mkdir(entry, { recursive: true });
  await writeFile(join(entry, RECORD), JSON.stringify({ unpackedBytes: bytes }));
  const usedAt = new Date(Date.now() - ageMs);
  await utimes(entry, usedAt, usedAt);
}

const names = async (dir: string) => (await readdir(join(dir, 'shop'))).toSorted();
const HOUR = 3_600_000;

it('a cache with room is not read for every entry that is added', async () => {
  const dir = await makeFolder();
  const makeRoom = createEvictor(dir, { maxBytes: 1_000, minIdleMs: HOUR });
  await addEntry(dir, 'a', 100, 0);
  await makeRoom(100);
  // Were the folder read again, this would go.
  await addEntry(dir, 'unseen', 5_000, 2 * HOUR);
  await addEntry(dir, 'b', 100, 0);
  await makeRoom(100);
  expect(await names(dir)).toEqual(['a', 'b', 'unseen']);
});

it('a cache that grew past its size is, what other processes added too', async () => {
  const dir = await makeFolder();
  const makeRoom = createEvictor(dir, { maxBytes: 1_000, minIdleMs: HOUR });
  await addEntry(dir, 'a', 100, 0);
  await makeRoom(100);
  await addEntry(dir, 'of another process', 5_000, 2 * HOUR);
  await addEntry(dir, 'b', 950, 0);
  await makeRoom(950);
  expect(await names(dir)).toEqual(['a', 'b']);
});

it('a cache that is full of what is in use is not read for every entry, and is read again when it may be idle', async () => {
  const dir = await makeFolder();
  const makeRoom = createEvictor(dir, { maxBytes: 10, minIdleMs: 200 });
  await addEntry(dir, 'a', 100, 0);
  await makeRoom(100);
  await addEntry(dir, 'unseen', 100, HOUR);
  await makeRoom(100);
  expect(await names(dir)).toEqual(['a', 'unseen']);
  await expect.poll(() => makeRoom(0).then(() => names(dir)), { timeout: 5_000 }).toEqual([]);
});
