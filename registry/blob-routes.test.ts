import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { digestOf, pushBlob, sendRaw } from '../test/harness/raw-registry.ts';
import { temporaryRegistry } from '../test/harness/temporary-registry.ts';

let registry: Awaited<ReturnType<typeof temporaryRegistry>>;
let base: string;
beforeAll(async () => {
  registry = await temporaryRegistry({ maxBlobBytes: 4 * 1024 * 1024 });
  base = `${registry.url}/v2/infra/shop`;
});
afterAll(() => registry.close());

async function codeOf(answer: Response): Promise<unknown> {
  return ((await answer.json()) as { errors: { code: string }[] }).errors[0]?.code;
}

async function startUpload(): Promise<string> {
  const answer = await fetch(`${base}/blobs/uploads/`, { method: 'POST' });
  expect(answer.status).toBe(202);
  return new URL(answer.headers.get('location') ?? '', registry.url).href;
}

function patch(upload: string, body: string, range?: string): Promise<Response> {
  return fetch(upload, { method: 'PATCH', body, headers: range === undefined ? {} : { 'Content-Range': range } });
}

describe('a blob', () => {
  it('comes back byte by byte, whole or in part', async () => {
    const bytes = randomBytes(100_000);
    const { digest } = await pushBlob(base, bytes);
    const whole = await fetch(`${base}/blobs/${digest}`);
    expect(Buffer.from(await whole.arrayBuffer()).equals(bytes)).toBe(true);
    expect(whole.headers.get('docker-content-digest')).toBe(digest);
    expect(whole.headers.get('accept-ranges')).toBe('bytes');
    const part = await fetch(`${base}/blobs/${digest}`, { headers: { Range: 'bytes=10-19' } });
    expect(part.status).toBe(206);
    expect(part.headers.get('content-range')).toBe('bytes 10-19/100000');
    expect(Buffer.from(await part.arrayBuffer()).equals(bytes.subarray(10, 20))).toBe(true);
  });

  it('is not sent in part when it is another one than the client began with', async () => {
    const { digest } = await pushBlob(base, 'if-range');
    const headers = { Range: 'bytes=0-1', 'If-Range': '"sha256:other"' };
    const answer = await fetch(`${base}/blobs/${digest}`, { headers });
    expect([answer.status, await answer.text()]).toEqual([200, 'if-range']);
  });

  it('is not sent again to a client that has it', async () => {
    const { digest } = await pushBlob(base, 'known');
    const answer = await fetch(`${base}/blobs/${digest}`, { headers: { 'If-None-Match': `"${digest}"` } });
    expect(answer.status).toBe(304);
  });

  it.each(['bytes=5-', 'bytes=4-2', 'bytes=-0'])('of five bytes has no %s', async (range) => {
    const { digest } = await pushBlob(base, 'fiver');
    const answer = await fetch(`${base}/blobs/${digest}`, { headers: { Range: range } });
    expect(answer.status).toBe(416);
    expect(answer.headers.get('content-range')).toBe('bytes */5');
  });

  it('of no bytes can be pushed and pulled', async () => {
    const { digest } = await pushBlob(base, '');
    const answer = await fetch(`${base}/blobs/${digest}`);
    expect([answer.status, answer.headers.get('content-length'), await answer.text()]).toEqual([200, '0', '']);
  });

  it('is seen only in the repository it was pushed to', async () => {
    const { digest } = await pushBlob(base, 'private');
    const answer = await fetch(`${registry.url}/v2/other/blobs/${digest}`);
    expect([answer.status, await codeOf(answer)]).toEqual([404, 'BLOB_UNKNOWN']);
  });

  it('stays in other repositories when one deletes it, and leaves the disk with the last', async () => {
    const { digest } = await pushBlob(base, 'shared by two');
    const mount = `${registry.url}/v2/other/blobs/uploads/?mount=${digest}&from=infra/shop`;
    expect((await fetch(mount, { method: 'POST' })).status).toBe(201);
    expect((await fetch(`${base}/blobs/${digest}`, { method: 'DELETE' })).status).toBe(202);
    expect(await (await fetch(`${registry.url}/v2/other/blobs/${digest}`)).text()).toBe('shared by two');
    await fetch(`${registry.url}/v2/other/blobs/${digest}`, { method: 'DELETE' });
    expect(await readdir(join(registry.dir, 'content', 'sha256'))).not.toContain(digest.slice('sha256:'.length));
    expect((await fetch(`${base}/blobs/${digest}`, { method: 'DELETE' })).status).toBe(404);
  });

  it('is stored once however many push it at the same time', async () => {
    const bytes = randomBytes(500_000);
    const bases = ['a', 'b', 'c', 'a', 'b', 'c'].map((name) => `${registry.url}/v2/together/${name}`);
    const pushed = await Promise.all(bases.map((each) => pushBlob(each, bytes)));
    for (const each of bases) {
      const answer = await fetch(`${each}/blobs/${pushed[0]?.digest}`);
      expect(digestOf(Buffer.from(await answer.arrayBuffer()))).toBe(digestOf(bytes));
    }
    expect(await readdir(join(registry.dir, 'temporary'))).toEqual([]);
  });
});

describe('an upload', () => {
  it('that has another digest than it says is refused and leaves nothing', async () => {
    const upload = await startUpload();
    const wanted = digestOf('what was promised');
    const answer = await fetch(`${upload}?digest=${wanted}`, { method: 'PUT', body: 'what came' });
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'DIGEST_INVALID']);
    expect((await fetch(`${base}/blobs/${wanted}`)).status).toBe(404);
    expect((await fetch(`${base}/blobs/${digestOf('what came')}`)).status).toBe(404);
    expect((await fetch(upload)).status).toBe(404);
  });

  it.each(['', '?digest=md5:abc', '?digest=sha256:../../x'])('cannot be finished with %j', async (query) => {
    const answer = await fetch(`${await startUpload()}${query}`, { method: 'PUT', body: 'x' });
    expect([answer.status, await codeOf(answer)]).toEqual([400, 'DIGEST_INVALID']);
  });

  it('takes chunks in order and says where to go on', async () => {
    const upload = await startUpload();
    const first = await patch(upload, 'hello ', '0-5');
    expect([first.status, first.headers.get('range')]).toEqual([202, '0-5']);
    const early = await patch(upload, 'later', '11-15');
    expect([early.status, early.headers.get('range')]).toEqual([416, '0-5']);
    expect((await patch(upload, 'hello ', '0-5')).status).toBe(416);
    const status = await fetch(upload);
    expect([status.status, status.headers.get('range')]).toEqual([204, '0-5']);
    const digest = digestOf('hello world', 'sha512');
    const headers = { 'Content-Range': '6-10' };
    const last = await fetch(`${upload}?digest=${digest}`, { method: 'PUT', body: 'world', headers });
    expect([last.status, last.headers.get('location')]).toEqual([201, `/v2/infra/shop/blobs/${digest}`]);
    expect(await (await fetch(`${base}/blobs/${digest}`)).text()).toBe('hello world');
  });

  it.each([
    ['0-9', 'SIZE_INVALID'],
    ['0-1', 'SIZE_INVALID'],
    ['five', 'BLOB_UPLOAD_INVALID'],
    ['bytes 0-4/5', 'BLOB_UPLOAD_INVALID'],
  ])('does not take five bytes that say they are %s', async (range, code) => {
    const upload = await startUpload();
    const answer = await patch(upload, 'fiver', range);
    expect([answer.status, await codeOf(answer)]).toEqual([400, code]);
    expect((await fetch(upload)).headers.get('range')).toBe('0-0');
  });

  it('that grows beyond the limit is refused', async () => {
    const answer = await fetch(await startUpload(), { method: 'PATCH', body: randomBytes(5 * 1024 * 1024) });
    expect([answer.status, await codeOf(answer)]).toEqual([413, 'SIZE_INVALID']);
    // The connection serves the next request.
    expect((await fetch(base.replace('/infra/shop', '/'))).status).toBe(200);
  });

  it('belongs to its repository', async () => {
    const upload = (await startUpload()).replace('/infra/shop/', '/other/');
    const answer = await patch(upload, 'x');
    expect([answer.status, await codeOf(answer)]).toEqual([404, 'BLOB_UPLOAD_UNKNOWN']);
  });

  it('that is cancelled is gone', async () => {
    const upload = await startUpload();
    expect((await fetch(upload, { method: 'DELETE' })).status).toBe(204);
    expect((await patch(upload, 'x')).status).toBe(404);
  });

  it('goes on after the connection broke in the middle of it', async () => {
    const upload = new URL(await startUpload());
    const request = `PATCH ${upload.pathname} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nfirst half, `;
    await new Promise<void>((resolve) => {
      const socket = connect(registry.port, '127.0.0.1', () =>
        socket.write(request, () => setTimeout(() => socket.destroy(), 100)),
      );
      socket.on('close', () => resolve());
    });
    await expect.poll(async () => (await fetch(upload)).headers.get('range'), { timeout: 4000 }).toBe('0-11');
    const digest = digestOf('first half, second half');
    const answer = await fetch(`${upload.href}?digest=${digest}`, { method: 'PUT', body: 'second half' });
    expect(answer.status).toBe(201);
  });

  it.each(['../../../etc/passwd', '..%2f..%2fx', 'nonsense'])('cannot be %s', async (id) => {
    const answer = await sendRaw(
      registry.port,
      `GET /v2/infra/shop/blobs/uploads/${id} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n`,
    );
    expect(answer).toMatch(/^HTTP\/1\.1 40[04] /);
  });
});

it('a mount from a name that is no repository is refused', async () => {
  const url = `${base}/blobs/uploads/?mount=${digestOf('x')}&from=../../etc`;
  const answer = await fetch(url, { method: 'POST' });
  expect([answer.status, await codeOf(answer)]).toEqual([400, 'NAME_INVALID']);
});

it('what is on disk is the blob itself, for people who look', async () => {
  const { digest } = await pushBlob(base, 'plain to see');
  const path = join(registry.dir, 'repositories', 'infra', 'shop', '_blobs', 'sha256', digest.slice('sha256:'.length));
  expect(await readFile(path, 'utf8')).toBe('plain to see');
});
