import { execFile } from 'node:child_process';
import { createServer } from 'node:http';
import { once } from 'node:events';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const bin = join(import.meta.dirname, 'plumb.mjs');

interface Ended {
  code: number;
  out: string;
  error: string;
}

function plumb(args: string[], env: Record<string, string> = {}): Promise<Ended> {
  const options = { env: { PATH: '/usr/bin', ...env }, timeout: 30_000 };
  return new Promise((resolve) => {
    execFile(process.execPath, [bin, ...args], options, (error, out, said) => {
      resolve({ code: error === null ? 0 : Number(error.code), out, error: said });
    });
  });
}

describe('plumb', { timeout: 60_000 }, () => {
  it.each<[string, string[], number, string]>([
    ['help is no error', ['--help'], 0, ''],
    ['an unknown command', ['aprove'], 2, 'unknown command'],
    ['an unknown kind', ['get', 'pods'], 2, 'Allowed choices are stacks'],
    ['an approval that names no plan', ['approve', 'shop'], 2, '--plan'],
    ['an unlock nobody vouches for', ['unlock', 'shop'], 2, '--confirm-dead'],
    ['no token', ['get', 'stacks'], 2, 'plumb: no token: set PLUMBLINE_TOKEN'],
    ['a push to what is no repository', ['push', '.', 'shop:1'], 2, 'plumb: "shop:1" is no repository reference'],
    ['a push without a tag', ['push', '.', 'oci://a.example/shop'], 2, 'plumb: oci://a.example/shop names no tag'],
    ['a program that is compared with none', ['diff', './shop'], 2, 'plumb: ./shop is one program; name the one'],
  ])('ends by code: %s', async (_what, args, code, message) => {
    const ended = await plumb(args);
    expect(ended.code).toBe(code);
    expect(ended.error).toContain(message);
  });

  it('says in one line what is wrong with a folder', async () => {
    const ended = await plumb(['pull', 'oci://a.example/shop:1', 'x'.repeat(300)]);
    expect(ended.error).toMatch(/^plumb: ENAMETOOLONG: .*; make room there, or name another place\n$/);
  });

  it('says in one line that the service is not there, and prints nothing else', async () => {
    const ended = await plumb(['get', 'stacks'], { PLUMBLINE_TOKEN: 'plumb_x', PLUMBLINE_URL: 'http://127.0.0.1:9' });
    expect(ended).toMatchObject({ code: 1, out: '' });
    expect(ended.error).toMatch(/^plumb: the service at http:\/\/127\.0\.0\.1:9 cannot be reached .*\n$/);
  });

  it('gives back what the service answered as JSON', async () => {
    const secrets = { items: [{ name: 'db', version: 3, updatedAt: '2026-01-01T00:00:00.000Z' }] };
    const server = createServer((_request, response) => response.end(JSON.stringify(secrets))).listen(0, '127.0.0.1');
    await once(server, 'listening');
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const env = { PLUMBLINE_TOKEN: 'plumb_x', PLUMBLINE_URL: `http://127.0.0.1:${port}` };
    const ended = await plumb(['get', 'secrets', '-o', 'json'], env);
    server.close();
    expect(ended).toMatchObject({ code: 0, error: '' });
    expect(JSON.parse(ended.out)).toEqual(secrets);
  });
});
