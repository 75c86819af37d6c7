import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { access, mkdtemp, readFile, readlink, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { basename, join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { credentials } from '@grpc/grpc-js';
import { LanguageRuntimeClient } from '@pulumi/pulumi/proto/language_grpc_pb.js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';

const CHECKOUT = join(import.meta.dirname, '../../..');

let host: ChildProcess;
let client: LanguageRuntimeClient;
let root: string;
let dir: string;
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), 'policies-'));
  await writeFile(join(root, 'overrides.json'), '[]');
  const env = { PLUMBLINE_POLICY_OVERRIDES: join(root, 'overrides.json') };
  host = spawn(process.execPath, [join(import.meta.dirname, 'main.ts')], { env });
  const lines = createInterface({ input: host.stdout ?? process.stdin })[Symbol.asyncIterator]();
  client = new LanguageRuntimeClient(`127.0.0.1:${(await lines.next()).value}`, credentials.createInsecure());
});
afterAll(async () => {
  client.close();
  host.kill('SIGTERM');
  await once(host, 'exit');
  await rm(root, { recursive: true, force: true });
});
beforeEach(async () => {
  dir = await mkdtemp(join(root, 'pack-'));
  await symlink(join(CHECKOUT, 'node_modules'), join(dir, 'node_modules'));
  await writeFile(join(dir, 'package.json'), '{"name":"pack","version":"1.0.0"}');
});
afterEach(() => (resolve(dir) === root ? undefined : rm(dir, { recursive: true, force: true })));

function start(source: string, kind = 'analyzer') {
  const info = new language.ProgramInfo();
  info.setProgramDirectory(dir);
  const request = new language.RunPluginRequest();
  request.setInfo(info).setKind(kind).setArgsList(['127.0.0.1:1']);
  request.setEnvList(['HOME=/h', 'AWS_SECRET_ACCESS_KEY=s', 'PULUMI_CONFIG_PASSPHRASE=p', 'PLUMBLINE_GATE=g', 'PULUMI_HOME=/p', 'PULUMI_NODEJS_TSCONFIG_PATH=/t']);
  return writeFile(join(dir, 'index.js'), source).then(() => client.runPlugin(request));
} // prettier-ignore

interface Ran {
  stdout: string;
  stderr: string;
  code: number | undefined;
}

async function run(source: string): Promise<Ran> {
  const ran: Ran = { stdout: '', stderr: '', code: undefined };
  for await (const piece of (await start(source)) as AsyncIterable<InstanceType<typeof language.RunPluginResponse>>) {
    ran.stdout += Buffer.from(piece.getStdout_asU8()).toString();
    ran.stderr += Buffer.from(piece.getStderr_asU8()).toString();
    if (piece.hasExitcode()) ran.code = piece.getExitcode();
  }
  return ran;
}

describe('RunPlugin', { timeout: 30_000 }, () => {
  it('gives the engine a port of ours, all that the pack prints, and how it ended', async () => {
    const ran =
      await run(`console.log(12345); console.log(process.cwd()); console.error(Object.keys(process.env).sort().join());
      setTimeout(() => process.exit(7), 500);`);
    const [port, ...printed] = ran.stdout.split('\n');
    expect(Number(port)).toBeGreaterThan(0);
    expect(port).not.toBe('12345');
    expect(printed).toEqual([dir, '']);
    expect(ran.stderr).toBe('HOME,PULUMI_HOME,TS_NODE_CACHE\n');
    expect(ran.code).toBe(7);
  });

  it.each([
    ['process.exit(0)', 'ended before it served its policies'],
    ['throw new Error("no such module")', 'no such module'],
    ['console.log("hello"); setInterval(() => {}, 1000)', 'it printed "hello" where its port is expected'],
    ['process.stdout.write("x".repeat(200_000)); setInterval(() => {}, 1000)', 'it printed no port'],
  ])('fails a pack that does %s', async (source, text) => {
    const ran = await run(source);
    expect(ran.code).not.toBe(0);
    expect(ran.stderr).toContain(text);
    expect(ran.stderr).toContain(dir);
    expect(ran.stdout).toBe('');
  });

  it('says what to do for a pack without the SDK', async () => {
    await rm(join(dir, 'node_modules'));
    expect(await run('')).toMatchObject({ code: 1, stderr: expect.stringContaining('Add it to the dependencies') });
  });

  it('ends a pack that the engine lets go of', async () => {
    const alive = join(dir, 'alive');
    const stream =
      await start(`require('fs').writeFileSync(${JSON.stringify(alive)}, String(process.pid)); console.log(1);
      setInterval(() => {}, 1000);`);
    // The port is printed by then.
    await once(stream, 'data');
    const pid = Number(await readFile(alive, 'utf8'));
    stream.on('error', () => undefined);
    stream.cancel();
    const isGone = () => {
      try {
        process.kill(pid, 0);
        return false;
      } catch {
        return true;
      }
    };
    await expect.poll(isGone, { timeout: 10_000 }).toBe(true);
  });

  it.each([
    ['beside the packs', async () => (dir = await mkdtemp(join(tmpdir(), 'program-')))],
    ['below a pack', async () => (dir = await mkdtemp(join(dir, 'inner-')))],
    ['above the packs', async () => (dir = `${root}/.`)],
    ['by a way around', async () => (dir = `${root}/../${basename(await mkdtemp(join(tmpdir(), 'program-')))}`)],
  ])('runs no code of a program as a pack: %s', async (_, place) => {
    const links = await readlink(join(dir, 'node_modules'));
    await place();
    await symlink(links, join(dir, 'node_modules'));
    await writeFile(join(dir, 'package.json'), '{"name":"pack","version":"1.0.0"}');
    const ran = await run(`require('fs').writeFileSync('ran', '')`);
    expect(ran).toMatchObject({ code: 1, stderr: expect.stringContaining('no policy pack of this run') });
    await expect(access(join(dir, 'ran'))).rejects.toThrow('ENOENT');
  });

  it('runs no other plugin from source', async () => {
    const stream = await start('', 'resource');
    const failed = once(stream, 'end').catch((error: unknown) => error);
    stream.resume();
    expect(String(await failed)).toContain('runs policy packs from source, and no resource');
  });
});
