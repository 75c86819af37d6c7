import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it } from 'vitest';

const main = join(import.meta.dirname, '../../workers/main.ts');

it('a worker whose settings are wrong stops the database it started', { timeout: 60_000 }, async () => {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-start-'));
  const data = join(dir, 'data');
  const env = {
    PATH: process.env['PATH'] ?? '',
    PLUMBLINE_DATA: data,
    PLUMBLINE_KEY_FILE: join(dir, 'master.key'),
    PLUMBLINE_ALLOWED_REGISTRIES: '*.*',
  };
  const said = await new Promise<string>((resolve) => {
    execFile(process.execPath, [main], { env, timeout: 50_000 }, (_error, _out, stderr) => resolve(stderr));
  });
  expect(said).toContain('PLUMBLINE_ALLOWED_REGISTRIES is no host[:port]');
  // It was started: there is a cluster. And it has ended: PostgreSQL removes this file last.
  expect(await readdir(join(data, 'postgres', 'cluster'))).toContain('PG_VERSION');
  expect(await readdir(join(data, 'postgres', 'cluster'))).not.toContain('postmaster.pid');
  await rm(dir, { recursive: true, force: true });
});
