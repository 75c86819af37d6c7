import { createHash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { resumedBody } from './ranged.ts';
import { readAll, startTestServer, type Reply, type Seen } from './test-server.ts';
import { getFrom, startTestSession } from './test-session.ts';

const CONTENT = Buffer.from(Array.from({ length: 100_000 }, (_, index) => index % 251));
const DIGEST = `sha256:${createHash('sha256').update(CONTENT).digest('hex')}`;
const RANGES = { 'accept-ranges': 'bytes', etag: '"v1"' };

/** What a server that takes ranges answers. */
function part(seen: Seen, over: Reply = {}): Reply {
  const start = Number(/^bytes=(\d+)-$/.exec(seen.headers.range ?? '')?.[1] ?? 0);
  const range: Record<string, string> =
    start === 0 ? {} : { 'content-range': `bytes ${start}-${CONTENT.length - 1}/${CONTENT.length}` };
  return {
    status: start === 0 ? 200 : 206,
    body: CONTENT.subarray(start),
    ...over,
    headers: { ...RANGES, ...range, ...over.headers },
  };
}

async function download(answer: (seen: Seen, times: number) => Reply) {
  let times = 0;
  const server = await startTestServer((seen) => {
    times += 1;
    return answer(seen, times);
  });
  const session = startTestSession({ plain: [server], timeouts: { idle: 300 } });
  const what = `blob of ${server.host}/infra/shop ${DIGEST}`;
  const chunks: Uint8Array[] = [];
  const done = (async () => {
    const body = await resumedBody(
      session,
      getFrom(server.host, `/blobs/${DIGEST}`),
      { size: CONTENT.length, what },
      5,
    );
    for await (const chunk of body) chunks.push(chunk);
    return Buffer.concat(chunks);
  })();
  return { server, done };
}

describe('a download that broke off', () => {
  it('goes on where it was, for the same ETag', async () => {
    const { server, done } = await download((seen, times) => part(seen, times < 3 ? { cutAfter: 20_000 } : {}));
    expect((await done).equals(CONTENT)).toBe(true);
    expect(server.seen.map(({ headers }) => [headers.range, headers['if-range']])).toEqual([
      [undefined, undefined],
      ['bytes=20000-', '"v1"'],
      ['bytes=40000-', '"v1"'],
    ]);
  });

  it('goes on when the server says nothing more', async () => {
    const { server, done } = await download((seen, times) => part(seen, times === 1 ? { stallAfter: 30_000 } : {}));
    expect((await done).equals(CONTENT)).toBe(true);
    expect(server.seen).toHaveLength(2);
  });

  it('names no weak ETag', async () => {
    const { server, done } = await download((seen, times) =>
      part(seen, { headers: { etag: 'W/"v1"' }, ...(times === 1 ? { cutAfter: 20_000 } : {}) }),
    );
    expect((await done).equals(CONTENT)).toBe(true);
    expect(server.seen[1]?.headers['if-range']).toBeUndefined();
  });

  it.each<[string, (seen: Seen) => Reply]>([
    ['with the whole content anew', () => ({ body: CONTENT, headers: RANGES })],
    ['from another place', (seen) => part(seen, { headers: { 'content-range': 'bytes 1-99999/100000' } })],
    ['of another size', (seen) => part(seen, { headers: { 'content-range': 'bytes 20000-99999/100001' } })],
    ['without a range', () => ({ status: 206, body: CONTENT.subarray(20_000) })],
  ])('is transient when it would go on %s', async (_, again) => {
    const { server, done } = await download((seen, times) =>
      times === 1 ? part(seen, { cutAfter: 20_000 }) : again(seen),
    );
    await expect(done).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    await expect(done).rejects.toThrow(`${server.host}/infra/shop ${DIGEST} broke off after 20000 of 100000 bytes`);
    expect(server.seen).toHaveLength(2);
  });

  it('is transient where the server takes no ranges', async () => {
    const { server, done } = await download((seen) =>
      part(seen, { cutAfter: 20_000, headers: { 'accept-ranges': 'none' } }),
    );
    await expect(done).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    expect(server.seen).toHaveLength(1);
  });

  it('asks the registry, not its blob store, for the rest', async () => {
    const store = await startTestServer((seen) => part(seen, store.seen.length === 1 ? { cutAfter: 20_000 } : {}));
    const registry = await startTestServer(() => {
      const signature = registry.seen.length;
      return { status: 307, headers: { location: `${store.origin}/blob?X-Signature=secret${signature}` } };
    });
    const session = startTestSession({ plain: [registry, store] });
    const request = getFrom(registry.host, `/blobs/${DIGEST}`);
    const body = await resumedBody(session, request, { size: CONTENT.length, what: 'blob' });
    expect((await readAll(body)).equals(CONTENT)).toBe(true);
    expect(store.seen.map(({ url }) => url)).toEqual(['/blob?X-Signature=secret1', '/blob?X-Signature=secret2']);
  });

  it('ends after five', async () => {
    const { server, done } = await download((seen) => part(seen, { cutAfter: 1_000 }));
    const failed = await done.catch((error: unknown) => error);
    expect(failed).toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    expect(String(failed)).toContain(`${server.host}/infra/shop@${DIGEST}`);
    expect(server.seen).toHaveLength(6);
  });
});

describe('a download', () => {
  it('of another size than described is refused before it starts', async () => {
    const { done } = await download(() => ({ body: CONTENT.subarray(1) }));
    await expect(done).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
  });

  it('that stalls after its head fails with registry, repository and digest', async () => {
    const { server, done } = await download(() => ({ body: CONTENT, stallAfter: 10 }));
    await expect(done).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    await expect(done).rejects.toThrow(
      `${server.host}/infra/shop@${DIGEST}: GET ${server.origin}/v2/infra/shop/blobs/${DIGEST} failed: it began to answer and then sent nothing more in time`,
    );
  });

  it('from a blob store that fails shows nothing of its signed address', async () => {
    const store = await startTestServer((seen) => part(seen, { cutAfter: 10, headers: { 'accept-ranges': 'none' } }));
    const registry = await startTestServer(() => ({
      status: 307,
      headers: { location: `${store.origin}/b?X-Signature=topsecret` },
    }));
    const session = startTestSession({ plain: [registry, store] });
    const body = await resumedBody(session, getFrom(registry.host, `/blobs/${DIGEST}`), {
      size: CONTENT.length,
      what: 'blob',
    });
    const failed = await readAll(body).catch(String);
    expect(failed).toContain(`${registry.host}/infra/shop@${DIGEST}: GET ${store.origin} failed`);
    expect(failed).not.toContain('topsecret');
  });
});
