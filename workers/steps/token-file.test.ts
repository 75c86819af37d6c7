import { mkdir, mkdtemp, readdir, readFile, rm, stat } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { loadConfig } from '#core/config.ts';
import { runEngineProcess } from '#core/engine/process.ts';
import { replaceFile, serviceUrl } from './token-file.ts';

async function scratch(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-token-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}

describe('the file of a token', () => {
  it('is replaced whole, for its owner alone, and leaves no draft', async () => {
    const dir = await scratch();
    const file = join(dir, 'token');
    await replaceFile(file, 'first');
    await replaceFile(file, 'second');
    expect(await readFile(file, 'utf8')).toBe('second');
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect(await readdir(dir)).toEqual(['token']);
  });

  it('does not come back when its folder is gone', async () => {
    const dir = await scratch();
    await expect(replaceFile(join(dir, 'gone', 'token'), 'late')).rejects.toThrow('ENOENT');
  });

  it.skipIf(process.platform !== 'linux')(
    'is read and never written by the run, which sees it renewed and sees no other run’s',
    async () => {
      const data = await scratch();
      const [runDir, identityDir, other] = [join(data, '1'), join(data, '1.identity'), join(data, '2.identity')];
      for (const dir of [runDir, identityDir, other]) await mkdir(dir, { mode: 0o700 });
      await replaceFile(join(identityDir, 'token'), 'first\n');
      await replaceFile(join(other, 'token'), 'of another run\n');
      const file = join(identityDir, 'token');
      const attempts = [
        `echo x > ${file}`,
        `touch ${identityDir}/x`,
        `mv ${file} ${runDir}/`,
        `rm ${file}`,
        `ln -sfn /tmp ${identityDir}`,
        `cat ${other}/token`,
      ];
      const script = [
        `cat ${file}`,
        ...attempts.map((attempt, index) => `(${attempt}) 2>/dev/null && echo "attempt ${index} went through"`),
        `echo waiting; until grep -q second ${file}; do sleep 0.05; done`,
        `cat ${file}`,
      ];
      const signal = AbortSignal.timeout(20_000);
      const running = runEngineProcess({
        command: '/bin/bash',
        args: ['-c', script.join('\n')],
        cwd: runDir,
        env: { PATH: '/usr/bin:/bin' },
        runId: 'r1',
        sandbox: { writableDirs: [runDir], readOnlyDirs: [identityDir], hiddenDirs: [data] },
        guard: { started: async () => undefined, ended: async () => undefined, remainingMs: () => 30_000 },
        timeoutMs: 20_000,
        signal,
        maxOutputBytes: 10_000,
        onOutput: (text) => {
          if (text.includes('waiting')) void replaceFile(file, 'second\n');
        },
        isolation: 'namespaces',
      });
      expect(await running).toMatchObject({ code: 0, stdout: 'first\nwaiting\nsecond\n' });
    },
  );
});

describe('the service is asked', () => {
  it.each([
    [{}, 'http://127.0.0.1:8080'],
    [{ PLUMBLINE_LISTEN_HOST: '0.0.0.0', PLUMBLINE_LISTEN_PORT: '9000' }, 'http://127.0.0.1:9000'],
    [{ PLUMBLINE_LISTEN_HOST: '::' }, 'http://[::1]:8080'],
    [{ PLUMBLINE_LISTEN_HOST: 'fd00::7' }, 'http://[fd00::7]:8080'],
    [{ PLUMBLINE_SERVICE_URL: 'https://plumb.example.com/api/' }, 'https://plumb.example.com/api'],
  ])('with %j at %s', (environment, url) => {
    const config = loadConfig({ PLUMBLINE_LISTEN_PORT: '8080', ...environment });
    expect(serviceUrl(config)).toBe(url);
  });
});
