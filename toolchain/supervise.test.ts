import { spawn } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, relative } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { checkout } from './paths.ts';
import { supervise } from './supervise.ts';

const times = { firstBackoffMs: 10, lastBackoffMs: 40, healthyMs: 60_000, stopMs: 1000 };
const force = new AbortController().signal;

describe('supervise', { timeout: 30_000 }, () => {
  let dir = '';
  beforeAll(async () => {
    vi.spyOn(console, 'error').mockImplementation(() => undefined);
    dir = await mkdtemp(join(tmpdir(), 'plumbline-supervise-'));
  });
  afterAll(() => rm(dir, { recursive: true, force: true }));

  /** A process that notes each start and its orderly end, and otherwise does as `body` says. */
  async function script(name: string, body: string) {
    const file = join(dir, `${name}.ts`);
    const note = (what: string) =>
      `appendFileSync(${JSON.stringify(join(dir, 'log'))}, '${name} ${what} ' + process.pid + '\\n');`;
    await writeFile(
      file,
      `import { appendFileSync } from 'node:fs';
      const end = () => { ${note('ended')} process.exit(0); };
      process.on('SIGTERM', end);
      ${note('started')}
      ${body}`,
    );
    return { name, script: relative(checkout, file), env: process.env };
  }
  const log = async () => (await readFile(join(dir, 'log'), 'utf8').catch(() => '')).trim().split('\n');
  const logged = (pattern: RegExp, times: number) =>
    vi.waitFor(async () => expect((await log()).filter((line) => pattern.test(line))).toHaveLength(times), 10_000);

  it('starts a process again that was killed, and ends all in reverse order when asked', async () => {
    const stop = new AbortController();
    const stay = 'setInterval(() => undefined, 1000);';
    const ended = supervise([await script('first', stay), await script('second', stay)], {
      stop: stop.signal,
      force,
      times,
    });
    await logged(/started/, 2);
    const victim = (await log()).find((line) => line.startsWith('first started'))?.split(' ')[2];
    process.kill(Number(victim), 'SIGKILL');
    await logged(/first started/, 2);
    stop.abort();
    expect(await ended).toBe(0);
    expect((await log()).slice(-2).map((line) => line.split(' ').slice(0, 2).join(' '))).toEqual([
      'second ended',
      'first ended',
    ]);
  });

  it('leaves nothing behind when it is killed itself: what it ran ends in order', async () => {
    const module = (name: string) => JSON.stringify(join(checkout, 'toolchain', name));
    const body = `const { endWithParent } = await import(${module('end-with-parent.ts')});
      endWithParent();
      setInterval(() => undefined, 1000);`;
    const orphan = await script('orphan', body);
    const supervisor = spawn(process.execPath, [
      '--input-type=module',
      '-e',
      `const { supervise } = await import(${module('supervise.ts')});
      const never = new AbortController().signal;
      await supervise([${JSON.stringify({ name: orphan.name, script: orphan.script })}], { stop: never, force: never });`,
    ]);
    await logged(/orphan started/, 1);
    // The listener is set after the note.
    await delay(500);
    supervisor.kill('SIGKILL');
    await logged(/orphan ended/, 1);
    expect((await log()).at(-1)).toContain('orphan ended');
  });

  it('gives up with exit code 1 on a process that does not stay up', async () => {
    const broken = await script('broken', 'process.exit(3);');
    expect(await supervise([broken], { stop: new AbortController().signal, force, times })).toBe(1);
    await logged(/broken started/, 6);
  });

  it('kills a process that ignores the request to end, and says so by its exit code', async () => {
    const stop = new AbortController();
    const deaf = await script(
      'deaf',
      "process.removeAllListeners('SIGTERM').on('SIGTERM', () => undefined); setInterval(() => undefined, 1000);",
    );
    const ended = supervise([deaf], { stop: stop.signal, force, times: { ...times, stopMs: 200 } });
    await logged(/deaf started/, 1);
    stop.abort();
    expect(await ended).toBe(1);
  });
});
