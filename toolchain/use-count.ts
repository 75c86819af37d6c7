import { randomUUID } from 'node:crypto';
import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { identify, isRunning } from './process.ts';

/**
 * Notes that this process uses what lies in `dir`; the caller holds the folder's lock.
 * The note is a file named after the process, so the use of a process that was killed ends by itself.
 * @returns the note's path, for `leaveUse`.
 */
export async function joinUse(dir: string): Promise<string> {
  const users = join(dir, 'users');
  await mkdir(users, { recursive: true, mode: 0o700 });
  const own = await identify(process.pid);
  if (own === undefined) throw new Error(`process ${process.pid} cannot read its own start time; is /proc mounted?`);
  const note = join(users, `${own.pid}_${encodeURIComponent(own.started)}_${randomUUID()}`);
  await writeFile(note, '');
  return note;
}

/** Ends a use; tells how many living ones remain. The caller holds the folder's lock. */
export async function leaveUse(dir: string, note: string): Promise<number> {
  await rm(note, { force: true });
  const users = join(dir, 'users');
  let living = 0;
  for (const name of await readdir(users)) {
    const [pid = '', started = ''] = name.split('_');
    const alive = await isRunning({ pid: Number(pid), started: decodeURIComponent(started) });
    if (alive) living += 1;
    else await rm(join(users, name), { force: true });
  }
  return living;
}
