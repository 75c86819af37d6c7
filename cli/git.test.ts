import { execFileSync } from 'node:child_process';
import { mkdtemp, mkdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { gitAnnotations, publicRemote } from './git.ts';

const env = { PATH: process.env['PATH'] };
let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'plumb-git-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

const git = (...args: string[]) => execFileSync('git', ['-C', dir, ...args], { encoding: 'utf8' }).trim();

async function repository(): Promise<string> {
  git('init', '-q');
  git('config', 'user.email', 'a@example.com');
  git('config', 'user.name', 'a');
  await mkdir(join(dir, 'infra'));
  await writeFile(join(dir, 'infra/Pulumi.yaml'), 'name: a\n');
  git('add', '.');
  git('commit', '-q', '-m', 'first');
  return git('rev-parse', 'HEAD');
}

describe('publicRemote', () => {
  it.each([
    ['https://github.com/acme/infra.git', 'https://github.com/acme/infra.git'],
    ['https://user:s3cret@github.com/acme/infra?token=s3cret#s3cret', 'https://github.com/acme/infra'],
    ['https://s3cret@github.com/acme/infra', 'https://github.com/acme/infra'],
    ['ssh://git:s3cret@host:2222/acme/infra', 'ssh://host:2222/acme/infra'],
    ['git@github.com:acme/infra.git', 'ssh://github.com/acme/infra.git'],
    ['host:/srv/infra', 'ssh://host/srv/infra'],
    ['/home/me/infra', undefined],
    ['file:///home/me/infra', undefined],
    ['../infra', undefined],
  ])('says of %s what everybody may know', (remote, expected) => {
    const found = publicRemote(remote);
    expect(found).toBe(expected);
    expect(found ?? '').not.toContain('s3cret');
  });
});

describe('gitAnnotations', () => {
  it('name commit and remote', async () => {
    const commit = await repository();
    git('remote', 'add', 'origin', 'https://me:s3cret@example.com/acme/infra');
    expect(await gitAnnotations(join(dir, 'infra'), env)).toEqual({
      'org.opencontainers.image.revision': commit,
      'org.opencontainers.image.source': 'https://example.com/acme/infra',
    });
  });

  it.each([
    ['a change', 'infra/Pulumi.yaml', '+dirty'],
    ['a new file', 'infra/new.ts', '+dirty'],
    ['a change elsewhere', 'README.md', ''],
  ])('mark a folder by %s', async (_, path, mark) => {
    const commit = await repository();
    await writeFile(join(dir, path), 'changed');
    const revision = (await gitAnnotations(join(dir, 'infra'), env))['org.opencontainers.image.revision'];
    expect(revision).toBe(`${commit}${mark}`);
  });

  it.each<[string, Record<string, string | undefined>]>([
    ['outside of a repository', env],
    ['without git', { PATH: '/nowhere' }],
  ])('are none %s', async (_, environment) => {
    expect(await gitAnnotations(dir, environment)).toEqual({});
  });

  it('run nothing that the repository names', async () => {
    await repository();
    await writeFile(join(dir, 'hook'), `#!/bin/sh\ntouch ${join(dir, 'ran')}\n`, { mode: 0o755 });
    git('config', 'core.fsmonitor', join(dir, 'hook'));
    await gitAnnotations(dir, env);
    expect(git('-c', 'core.fsmonitor=false', 'status', '--porcelain')).not.toContain('ran');
  });
});
