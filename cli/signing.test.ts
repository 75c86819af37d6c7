import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { pushProgram } from '#core/oci/pack.ts';
import { createRegistryClient } from '#core/oci/registry-client.ts';
import { temporaryRegistry } from '../test/harness/temporary-registry.ts';
import { signCommands } from './commands/sign.ts';
import { verifyCommand } from './commands/verify.ts';

let dir: string;
let registry: Awaited<ReturnType<typeof temporaryRegistry>>;
let reference: string;

/** Runs a command as `plumb` does; what it printed. */
async function plumb(...args: string[]): Promise<string> {
  const program = new Command('plumb').option('-o, --output <format>').exitOverride();
  for (const add of [signCommands, verifyCommand]) add(program);
  const write = vi.spyOn(process.stdout, 'write').mockImplementation(() => true);
  try {
    await program.parseAsync(args, { from: 'user' });
    return write.mock.calls.map(([text]) => String(text)).join('');
  } finally {
    write.mockRestore();
  }
}

/** A pair of the name, closed with the password of the environment. */
async function keygen(name: string): Promise<{ key: string; pub: string }> {
  await plumb('keygen', join(dir, name));
  return { key: join(dir, `${name}.key`), pub: join(dir, `${name}.pub`) };
}

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), 'plumbline-signing-cli-'));
  registry = await temporaryRegistry();
  const program = join(dir, 'Pulumi.yaml');
  await writeFile(program, 'name: shop\nruntime: yaml\n');
  const host = `127.0.0.1:${registry.port}`;
  const client = createRegistryClient({ plainHttpHosts: [host], credentials: () => undefined });
  const repository = { host, name: 'infra/shop' };
  await pushProgram(client, { dir, repository, tag: '1.0.0', annotations: {} }, AbortSignal.timeout(20_000));
  await client.close();
  reference = `oci://${host}/infra/shop:1.0.0`;
});
afterAll(async () => {
  await registry.close();
  await rm(dir, { recursive: true, force: true });
});
beforeEach(() => {
  vi.stubEnv('PLUMBLINE_KEY_PASSWORD', 'correct horse');
  vi.stubEnv('DOCKER_CONFIG', dir);
  return () => vi.unstubAllEnvs();
});

describe('plumb keygen', () => {
  it('writes a private key for its owner only, closed with the password of the environment', async () => {
    const { key, pub } = await keygen('one');
    expect((await stat(key)).mode & 0o777).toBe(0o600);
    expect(await readFile(key, 'utf8')).toMatch(/ENCRYPTED SIGSTORE PRIVATE KEY/);
    expect(await readFile(pub, 'utf8')).toMatch(/BEGIN PUBLIC KEY/);
  });

  it('takes the password from a file, and says when there is none', async () => {
    vi.stubEnv('PLUMBLINE_KEY_PASSWORD', undefined);
    expect(await plumb('keygen', join(dir, 'open'))).toMatch(/not encrypted/);
    const file = join(dir, 'password');
    await writeFile(file, 'of a file\n');
    await plumb('keygen', join(dir, 'closed'), '--key-password-file', file);
    await plumb('sign', reference, '--plain-http', '--key', join(dir, 'closed.key'), '--key-password-file', file);
    vi.stubEnv('COSIGN_PASSWORD', 'of a file');
    expect(await plumb('sign', reference, '--plain-http', '--key', join(dir, 'closed.key'))).toMatch(/^signed /);
  });

  it('never writes over a key, nor leaves half a pair', async () => {
    const { key } = await keygen('kept');
    const before = await readFile(key, 'utf8');
    await expect(keygen('kept')).rejects.toMatchObject({ exitCode: 2 });
    expect(await readFile(key, 'utf8')).toBe(before);
    await writeFile(join(dir, 'half.pub'), '');
    await expect(keygen('half')).rejects.toMatchObject({ exitCode: 2 });
    await expect(stat(join(dir, 'half.key'))).rejects.toMatchObject({ code: 'ENOENT' });
  });
});

describe('plumb sign and plumb verify', () => {
  it('sign what a tag names, and print who signed it', async () => {
    const { key, pub } = await keygen('release');
    await plumb('sign', reference, '--plain-http', '--key', key, '--annotation', 'env=prod');
    const said = await plumb('verify', reference, '--plain-http', '--key', pub);
    expect(said).toMatch(/infra\/shop@sha256:[0-9a-f]{64} is signed by\n {2}key release\.pub \(cosign-bundle\)\n$/);
    const json = JSON.parse(await plumb('verify', reference, '--plain-http', '--key', pub, '-o', 'json'));
    expect(json).toMatchObject({ verified: true, signers: [{ name: 'key release.pub' }] });
  });

  it('fail with 1 for the key of somebody else, and say so', async () => {
    const { pub } = await keygen('stranger');
    const failed = plumb('verify', reference, '--plain-http', '--key', pub);
    await expect(failed).rejects.toMatchObject({ exitCode: 1, message: expect.stringMatching(/another key/) });
  });

  it('fail without the password, and never print it', async () => {
    const { key } = await keygen('locked');
    vi.stubEnv('PLUMBLINE_KEY_PASSWORD', 'wrong horse');
    const error = await plumb('sign', reference, '--plain-http', '--key', key).catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ exitCode: 2, message: expect.stringContaining(`--key: ${key}: `) });
    expect(String(error)).not.toContain('horse');
    vi.stubEnv('PLUMBLINE_KEY_PASSWORD', undefined);
    await expect(plumb('sign', reference, '--plain-http', '--key', key)).rejects.toThrow('set PLUMBLINE_KEY_PASSWORD');
  });

  it('fail with what a file holds that is no private key', async () => {
    const { pub } = await keygen('halves');
    const failed = plumb('sign', reference, '--plain-http', '--key', pub);
    await expect(failed).rejects.toThrow(`${pub}: the private key cannot be read (PEM); it holds PUBLIC KEY, and`);
  });

  it.each([
    ['nobody is named', []],
    ['an identity has no issuer', ['--certificate-identity', 'a@b.example']],
    ['an identity has no subject', ['--certificate-oidc-issuer', 'https://a.example']],
    [
      'an identity is given twice',
      ['--certificate-identity', 'a', '--certificate-identity-regexp', 'a', '--certificate-oidc-issuer', 'b'],
    ],
    ['a Notation store has no identity', ['--notation-store', 'x']],
    ['a key is not there', ['--key', '/nowhere/cosign.pub']],
    [
      'a trusted root is not there',
      ['--certificate-identity', 'a', '--certificate-oidc-issuer', 'b', '--trusted-root', '/nowhere'],
    ],
  ])('refuse to look when %s', async (_, args) => {
    await expect(plumb('verify', reference, '--plain-http', ...args)).rejects.toMatchObject({ exitCode: 2 });
  });

  it('need a root of trust for identities, and say which option takes it', async () => {
    const identity = ['--certificate-identity', 'a', '--certificate-oidc-issuer', 'b'];
    const failed = plumb('verify', reference, '--plain-http', ...identity);
    await expect(failed).rejects.toMatchObject({ exitCode: 2, message: expect.stringContaining('--trusted-root') });
  });
});
