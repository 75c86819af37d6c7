import { execFile } from 'node:child_process';
import { mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { ensureGoTool } from './go-tool.ts';
import { onPath } from './path-lookup.ts';

const run = promisify(execFile);
let folder: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'go-tool-'));
});
afterEach(() => rm(folder, { recursive: true, force: true }));

async function writeModule(source: string) {
  await writeFile(join(folder, 'go.mod'), 'module example.test/hello\n\ngo 1.24\n');
  await writeFile(join(folder, 'go.sum'), '');
  await writeFile(join(folder, 'main.go'), source);
  return { moduleDir: folder, package: 'example.test/hello', name: 'hello', toolchainDir: join(folder, 'cache') };
}

it.runIf(await onPath('go'))('builds a pinned Go tool once and finds it again', { timeout: 120_000 }, async () => {
  const tool = await writeModule('package main\n\nfunc main() { println("hello") }\n');
  const [first, second] = await Promise.all([ensureGoTool(tool), ensureGoTool(tool)]);
  expect(second).toBe(first);
  expect((await run(first)).stderr).toBe('hello\n');
  expect((await readdir(join(folder, 'cache', 'tools'))).length).toBe(1);
});

it.runIf(await onPath('go'))('says what Go said when a tool does not build', { timeout: 120_000 }, async () => {
  const tool = await writeModule('package main\n\nfunc main() { undefinedThing() }\n');
  await expect(ensureGoTool(tool)).rejects.toThrow(/go build of hello in .* failed;.*\n.*undefined: undefinedThing/s);
});
