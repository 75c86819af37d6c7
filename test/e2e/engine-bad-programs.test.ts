import { chmod, mkdtemp, rm, symlink, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

let fixture: EngineFixture;
beforeAll(async () => void (fixture = await openEngineFixture()));
afterAll(() => fixture.close());

it('says what a program threw, and where', async () => {
  const thrown: unknown = await fixture.engine
    .preview(await fixture.request({ behaviour: 'throw' }))
    .catch((error: unknown) => error);
  expect(thrown).toMatchObject({
    reason: 'PreviewFailed',
    message: expect.stringMatching(/the program threw on purpose\n\s+at index\.ts:/),
  });
});

it('says with which code a program left', async () => {
  await expect(fixture.engine.preview(await fixture.request({ behaviour: 'exit' }))).rejects.toMatchObject({
    reason: 'PreviewFailed',
    message: expect.stringContaining('non-zero exit code: 3'),
  });
});

it('stops a program that hangs at its time limit', async () => {
  const request = await fixture.request({ behaviour: 'hang' }, { timeoutMs: 5_000 });
  await expect(fixture.engine.preview(request)).rejects.toMatchObject({ reason: 'TimedOut' });
});

it('keeps a bounded part of what a program prints, and plans all the same', async () => {
  const before = fixture.output().length;
  const { changes } = await fixture.engine.preview(
    await fixture.request({ files: { a: 'one' }, behaviour: 'chatter' }),
  );
  expect(changes.map(({ name, op }) => `${op} ${name}`).sort()).toEqual(['create a', 'create files-test']);
  expect(fixture.output().length - before).toBeLessThan(80 * 1024);
});

it('shows a program its credentials and neither passphrase, backend nor anything of the worker', async () => {
  await fixture.engine.preview(await fixture.request({ behaviour: 'environment' }));
  const names = /variables: (.*)/.exec(fixture.output())?.[1]?.split(' ') ?? [];
  expect(names).toContain('FILES_DIR');
  for (const name of ['PULUMI_CONFIG_PASSPHRASE', 'PULUMI_BACKEND_URL', 'PLUMBLINE_GATE', 'VITEST'])
    expect(names).not.toContain(name);
});

it('says what to do when a program has no SDK', async () => {
  const request = await fixture.request({});
  await unlink(join(request.programDir, 'node_modules'));
  await expect(fixture.engine.preview(request)).rejects.toMatchObject({
    message: expect.stringContaining('Add it to the dependencies'),
  });
});

it('calls a preview whose events were cut an error, never "nothing to do"', async () => {
  const engineDir = await mkdtemp(join(tmpdir(), 'cut-'));
  await symlink(inject('pulumi'), join(engineDir, 'real'));
  for (const name of ['pulumi-language-nodejs', 'pulumi-resource-pulumi-nodejs']) {
    await symlink(join(inject('pulumi'), '..', name), join(engineDir, name));
  }
  // The engine only logs that it cannot reach the event server, and goes on.
  const script = `#!/bin/sh\nfor arg do shift; case "$arg" in tcp://*) arg=tcp://127.0.0.1:1;; esac; set -- "$@" "$arg"; done\nexec ${engineDir}/real "$@"\n`;
  await writeFile(join(engineDir, 'pulumi'), script);
  await chmod(join(engineDir, 'pulumi'), 0o755);
  const cut = await openEngineFixture(engineDir);
  const request = await cut.request({}, { readOnlyDirs: [join(inject('pulumi'), '..')] });
  await expect(cut.engine.preview(request)).rejects.toMatchObject({ reason: 'EventsIncomplete' });
  await cut.close();
  await rm(engineDir, { recursive: true });
});
