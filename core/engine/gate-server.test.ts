import { mkdtemp, rm } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openGate } from './gate-server.ts';
import { askGate } from './host/gate.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'gate-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

it.each([[[]], [['checkpoint was a and is b', 'generation was 1 and is 2']]])(
  'carries %j from the worker to the host',
  async (found: string[]) => {
    const server = await openGate(dir, async () => found);
    expect(await askGate(server.path)).toEqual(found);
    expect(server.differences()).toEqual(found);
    await server.close();
  },
);

it('answers once, so that a program that asks while it runs finds no difference of its own making', async () => {
  const answers = [[], ['checkpoint was a and is b']];
  const server = await openGate(dir, async () => answers.shift() ?? []);
  expect(await askGate(server.path)).toEqual([]);
  await expect(askGate(server.path)).rejects.toThrow(/JSON|ECONNRESET/);
  expect(server.differences()).toEqual([]);
  expect(answers).toHaveLength(1);
  await server.close();
});

it('gives no answer, and so no consent, when the worker cannot find out', async () => {
  const server = await openGate(dir, () => Promise.reject(new Error('no database')));
  await expect(askGate(server.path)).rejects.toThrow('JSON');
  expect(server.failure()).toMatchObject({ message: 'no database' });
  await server.close();
});

it('takes a worker that never answers, or is gone, for a refusal', async () => {
  const server = await openGate(dir, () => new Promise(() => undefined));
  await expect(askGate(server.path, 50)).rejects.toThrow('did not answer within 50 ms');
  await server.close();
  await expect(askGate(server.path, 50)).rejects.toThrow('ENOENT');
});

it.each(['{}', '[1]', 'yes', ''])('takes the answer %j for a refusal', async (answer) => {
  const path = join(dir, 'other');
  const server = createServer((socket) => socket.end(answer));
  await new Promise<void>((resolve) => server.listen(path, resolve));
  await expect(askGate(path)).rejects.toThrow(/JSON|no list of differences/);
  await new Promise((resolve) => server.close(resolve));
});

it('says which setting to shorten when the folder lies too deep for a socket', async () => {
  await expect(openGate(join(dir, 'x'.repeat(120)), async () => [])).rejects.toThrow('PLUMBLINE_DATA');
});
