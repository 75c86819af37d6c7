import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { readProject } from './project.ts';

let dir: string;
beforeEach(async () => void (dir = await mkdtemp(join(tmpdir(), 'project-'))));
afterEach(() => rm(dir, { recursive: true, force: true }));

async function project(text: string) {
  await writeFile(join(dir, 'Pulumi.yaml'), text);
  return readProject(dir);
}

it.each([
  ['name: shop\nruntime: nodejs', { name: 'shop', runtime: 'nodejs', options: {} }],
  [
    'name: shop\nruntime: {name: nodejs, options: {typescript: false}}',
    { name: 'shop', runtime: 'nodejs', options: { typescript: false } },
  ],
  ['name: shop\nruntime: yaml\nresources: {}', { name: 'shop', runtime: 'yaml', options: {} }],
])('reads %j', async (text, expected) => {
  expect(await project(text)).toEqual(expected);
});

it.each([
  ['a backend', 'backend: {url: "file:///tmp"}', 'spec.pulumi.backend'],
  ['a plugin with a path', 'plugins: {providers: [{name: aws, path: ./evil}]}', 'plugins with a path'],
  ['a refresh', 'options: {refresh: always}', 'options.refresh'],
  ['a moved settings folder', 'stackConfigDir: config', 'stackConfigDir'],
])('refuses %s', async (_name, setting, said) => {
  const refused = project(`name: shop\nruntime: nodejs\n${setting}`);
  await expect(refused).rejects.toMatchObject({ kind: 'stalled', reason: 'ProgramInvalid' });
  await expect(refused).rejects.toThrow(said);
});

it.each([
  ['a compiler', 'name: a\nruntime: {name: yaml, options: {compiler: cue export}}', 'compiler'],
  ['arguments for Node.js', 'name: a\nruntime: {name: nodejs, options: {nodeargs: --inspect}}', 'nodeargs'],
  ['another runtime', 'name: a\nruntime: python', 'runs nodejs and yaml'],
  ['a name that is a way up', 'name: ..\nruntime: nodejs', 'not dots alone'],
  ['a name that is a path', 'name: ../a\nruntime: nodejs', 'name must be'],
  ['no mapping', '- a', 'not a mapping'],
  ['broken YAML', 'name: [', 'not valid YAML'],
  [
    'a bomb of aliases',
    `a: &a [x]\n${'b: [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]'}`,
    'not valid YAML',
  ],
  ['a file without end', `name: a\n# ${'x'.repeat(300_000)}`, 'larger than'],
])('refuses %s', async (_name, text, said) => {
  await expect(project(text)).rejects.toThrow(said);
});

it('says what is missing when there is no Pulumi.yaml', async () => {
  await expect(readProject(dir)).rejects.toThrow('no Pulumi.yaml');
});
