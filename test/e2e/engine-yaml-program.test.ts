import { execFile } from 'node:child_process';
import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import type { EngineRequest } from '#core/engine/port.ts';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

const run = promisify(execFile);

const PROGRAM = `name: files
runtime: yaml
config: {text: {default: hello}}
resources:
  kept:
    type: pulumi:index:Stash
    properties: {input: "\${text}"}
outputs: {said: "\${kept.output}"}
`;

let fixture: EngineFixture;
beforeAll(async () => void (fixture = await openEngineFixture()));
afterAll(() => fixture.close());

async function yamlRequest(text?: string) {
  const request = await fixture.request({});
  for (const name of ['index.ts', 'text-file.ts', 'package.json', 'node_modules'])
    await rm(join(request.programDir, name));
  await writeFile(join(request.programDir, 'Pulumi.yaml'), PROGRAM);
  return text === undefined ? request : { ...request, config: { text: { value: text, secret: false } } };
}

/** The state is moved by the real CLI, which finds the lock of the apply taken and is told to remove it. */
async function moveBehindOurBack({ identity, passphrase, programDir }: EngineRequest) {
  const home = join(fixture.filesDir, 'cli-home');
  const env = {
    PULUMI_BACKEND_URL: identity.backend,
    PULUMI_CONFIG_PASSPHRASE: passphrase,
    PULUMI_HOME: home,
    PATH: '',
  };
  const cli = (args: string[]) =>
    run(inject('pulumi'), [...args, '--stack', identity.stack, '--non-interactive'], { env, cwd: programDir });
  const { stdout } = await cli(['stack', 'export']);
  const file = join(programDir, 'moved.json');
  await writeFile(file, stdout.replaceAll('"hello"', '"moved"'));
  await cli(['cancel', '--yes']);
  await cli(['stack', 'import', '--file', file]);
  await rm(file);
}

it('plans and applies a YAML program, which needs neither SDK nor provider plugin', async () => {
  const request = await yamlRequest();
  const { plan, summary } = await fixture.engine.preview(request);
  expect(summary).toEqual({ create: 2 });
  let asked = 0;
  const gate = async () => {
    asked += 1;
    const locks = join(fixture.stateDir, '.pulumi/locks/organization/files/test');
    const names = (await readdir(locks)).filter((name) => name.endsWith('.json'));
    expect(names).toHaveLength(1);
    return [];
  };
  const applied = await fixture.engine.apply({ ...request, plan, gate });
  expect(applied).toMatchObject({ summary: { create: 2 }, checkpoint: { pendingOperations: [] } });
  expect(asked).toBe(1);
  expect(await fixture.engine.preview(await yamlRequest())).toMatchObject({ changes: [] });
});

it('refuses an apply of YAML whose state was moved between our check and the lock, and changes nothing', async () => {
  const request = await yamlRequest('approved');
  const { plan } = await fixture.engine.preview(request);
  const approved = await fixture.engine.checkpoint(request);
  const stateFile = join(fixture.stateDir, '.pulumi/stacks/files/test.json');
  let moved = '';
  const gate = async () => {
    await moveBehindOurBack(request);
    moved = await readFile(stateFile, 'utf8');
    const { hash } = await fixture.engine.checkpoint(request);
    return hash === approved.hash ? [] : [`checkpoint was ${approved.hash} when approved and is now ${hash}`];
  };
  await expect(fixture.engine.apply({ ...request, plan, gate })).rejects.toMatchObject({
    reason: 'PlanStale',
    message: expect.stringContaining(`checkpoint was ${approved.hash} when approved`),
  });
  expect(moved).toContain('"moved"');
  expect(await readFile(stateFile, 'utf8')).toBe(moved);
});

it('binds the host that runs YAML, and not the launcher before it', async () => {
  const { yaml } = await fixture.engine.versions((await yamlRequest()).programDir);
  const { stdout } = await run('sha256sum', [join(inject('pulumi'), '../hosts/pulumi-language-yaml')]);
  expect(yaml).toBe(`sha256:${stdout.split(' ')[0]}`);
});
