import { describe, expect, it, onTestFinished } from 'vitest';
import { digestOf } from './digest.ts';
import { OCI_INDEX, OCI_MANIFEST } from './media-types.ts';
import type { Descriptor } from './port.ts';
import { referrersTag } from './referrers.ts';
import { createRegistryClient } from './registry-client.ts';
import { startTestServer, type Reply, type Seen, type TestServer } from './test-server.ts';

const signal = AbortSignal.timeout(20_000);
const SUBJECT = digestOf(Buffer.from('subject'));
const TAG = `sha256-${SUBJECT.slice(7)}`;

function entryOf(text: string, more: Partial<Descriptor> = {}): Descriptor {
  return { mediaType: OCI_MANIFEST, digest: digestOf(Buffer.from(text)), size: text.length, ...more };
}

function indexOf(manifests: unknown, more: object = {}): string {
  return JSON.stringify({ schemaVersion: 2, mediaType: OCI_INDEX, manifests, ...more });
}

const indexReply = (body: string | Buffer, headers: Record<string, string> = {}): Reply => ({
  body,
  headers: { 'content-type': OCI_INDEX, ...headers },
});

function start(answer: (seen: Seen) => Reply) {
  return startTestServer(answer);
}

function clientFor(server: TestServer) {
  const retry = { attempts: 2, baseMs: 1, maxMs: 5 };
  const client = createRegistryClient({ plainHttpHosts: [server.host], retry });
  onTestFinished(() => client.close());
  return client;
}

const repositoryOf = (server: TestServer) => ({ host: server.host, name: 'a/b' });
const steps = (server: TestServer) => server.seen.map(({ method, url }) => `${method} ${url}`);

function list(server: TestServer, artifactType?: string) {
  const options = artifactType === undefined ? {} : { artifactType };
  return clientFor(server).referrers(repositoryOf(server), SUBJECT, options, signal);
}

/** A registry without the API, whose referrers tag names these bytes. */
function withTag(index: string | Buffer, api: Reply = { status: 404, body: '404 page not found' }) {
  const digest = digestOf(Buffer.from(index));
  return start(({ url }) => {
    if (url.includes('/referrers/')) return api;
    if (url.endsWith(`/manifests/${TAG}`) || url.endsWith(`/manifests/${digest}`)) {
      return indexReply(index, { 'docker-content-digest': digest });
    }
    return { status: 404 };
  });
}

describe('the referrers API', () => {
  it('is asked for the type, and believed where it says that it filtered', async () => {
    const found = [entryOf('a', { artifactType: 'x/sig' }), entryOf('b', { artifactType: 'x/sig' })];
    const server = await start(() => indexReply(indexOf(found), { 'oci-filters-applied': 'other, artifactType' }));
    expect(await list(server, 'x/sig')).toEqual(found);
    expect(steps(server)).toEqual([`GET /v2/a/b/referrers/${SUBJECT}?artifactType=x%2Fsig`]);
  });

  it('is not believed where it does not say so', async () => {
    const found = [entryOf('a', { artifactType: 'x/sig' }), entryOf('b', { artifactType: 'x/other' })];
    const server = await start(() => indexReply(indexOf(found)));
    expect(await list(server, 'x/sig')).toEqual([found[0]]);
  });

  it('is read page by page, each entry once, however short a page is', async () => {
    const [a, b, c] = [entryOf('a'), entryOf('b'), entryOf('c')];
    const next = (last: string) => ({ link: `</v2/a/b/referrers/${SUBJECT}?last=${last}>; rel="next"` });
    const server = await start(({ url }) => {
      if (url.endsWith('last=2')) return indexReply(indexOf([b, c]));
      return url.endsWith('last=1') ? indexReply(indexOf([]), next('2')) : indexReply(indexOf([a, b]), next('1'));
    });
    expect(await list(server)).toEqual([a, b, c]);
  });

  it('says that the repository is missing where its answer says so', async () => {
    const body = JSON.stringify({ errors: [{ code: 'NAME_UNKNOWN', message: 'no such repository' }] });
    const server = await start(() => ({ status: 404, body }));
    await expect(list(server)).rejects.toMatchObject({ kind: 'transient', reason: 'SourceNotFound' });
    expect(server.seen).toHaveLength(1);
  });

  it('passes over what is no manifest', async () => {
    const good = entryOf('good');
    const entries = [
      { ...good, mediaType: 'application/octet-stream' },
      { ...good, mediaType: 'text/html' },
      { ...good, digest: 'md5:00' },
      { ...good, size: -1 },
      { ...good, annotations: { a: 1 } },
      null,
      'x',
      [],
      good,
    ];
    const server = await start(() => indexReply(indexOf(entries)));
    expect(await list(server)).toEqual([good]);
  });

  it('may list ten thousand', async () => {
    const entries = Array.from({ length: 10_000 }, (_, at) => entryOf(String(at)));
    const server = await start(() => indexReply(indexOf(entries)));
    expect(await list(server)).toHaveLength(10_000);
  });

  it.each<[string, Reply, string, RegExp]>([
    [
      'more than ten thousand',
      indexReply(indexOf(Array.from({ length: 10_001 }, (_, at) => entryOf(String(at))))),
      'ArtifactTooLarge',
      /more than 10000/,
    ],
    [
      'an index of 5 MiB',
      indexReply(Buffer.alloc(5 * 1024 * 1024, ' ')),
      'ArtifactTooLarge',
      /larger than the allowed/,
    ],
    ['an index that is none', indexReply('[]'), 'ArtifactInvalid', /no index of manifests/],
    ['JSON cut short', indexReply(indexOf([]).slice(0, -3)), 'ArtifactInvalid', /no index of manifests/],
    ['an image manifest', indexReply(indexOf([], { layers: [] })), 'ArtifactInvalid', /no index of manifests/],
    ['another type inside', indexReply(indexOf([], { mediaType: OCI_MANIFEST })), 'ArtifactInvalid', /no index/],
    ['nested lists', indexReply('['.repeat(100_000) + ']'.repeat(100_000)), 'ArtifactInvalid', /no index of manifests/],
    ['a refusal', { status: 403 }, 'SourceUnauthorized', /a\/b/],
    [
      'a page elsewhere',
      indexReply(indexOf([]), { link: '<https://evil.example/x>; rel="next"' }),
      'SourceUnreachable',
      /refused the link/,
    ],
    [
      'a page that is itself',
      indexReply(indexOf([]), { link: `</v2/a/b/referrers/${SUBJECT}>; rel="next"` }),
      'SourceUnreachable',
      /circle/,
    ],
  ])('that answers with %s fails in a sentence', async (_, reply, reason, message) => {
    const server = await start(() => reply);
    const failed = list(server);
    await expect(failed).rejects.toMatchObject({ reason });
    await expect(failed).rejects.toThrow(message);
  });

  it('that never ends its pages is left after 200', async () => {
    let page = 0;
    const server = await start(() =>
      indexReply(indexOf([]), { link: `</v2/a/b/referrers/${SUBJECT}?page=${(page += 1)}>; rel="next"` }),
    );
    await expect(list(server)).rejects.toThrow('more than 200 pages');
  });
});

describe('a registry without the referrers API', () => {
  const entries = [entryOf('a', { artifactType: 'x/sig' }), entryOf('b', { artifactType: 'x/other' })];

  it.each<[string, Reply]>([
    ['404', { status: 404, body: '404 page not found' }],
    ['404 with another code', { status: 404, body: '{"errors":[{"code":"UNSUPPORTED"}]}' }],
    ['405', { status: 405 }],
    ['a page of HTML', { body: '<html>', headers: { 'content-type': 'text/html' } }],
    ['JSON of another type', { body: indexOf([entryOf('z')]), headers: { 'content-type': 'application/json' } }],
  ])('that answers %s is asked for the referrers tag', async (_, api) => {
    const server = await withTag(indexOf(entries), api);
    expect(await list(server)).toEqual(entries);
    expect(await list(server, 'x/sig')).toEqual([entries[0]]);
  });

  it('has none where the tag is missing too', async () => {
    const server = await start(() => ({ status: 404 }));
    expect(await list(server)).toEqual([]);
  });

  it('is remembered, for each repository', async () => {
    const server = await withTag(indexOf(entries));
    const client = clientFor(server);
    await client.referrers(repositoryOf(server), SUBJECT, {}, signal);
    await client.referrers(repositoryOf(server), SUBJECT, {}, signal);
    const asked = () => server.seen.filter(({ url }) => url.includes('/referrers/')).length;
    expect(asked()).toBe(1);
    await client.referrers({ ...repositoryOf(server), name: 'a/c' }, SUBJECT, {}, signal);
    expect(asked()).toBe(2);
  });

  it('is looked up in the manifest where the tag does not say the type', async () => {
    const manifest = JSON.stringify({
      schemaVersion: 2,
      mediaType: OCI_MANIFEST,
      config: { mediaType: 'x/sig' },
      layers: [],
    });
    const bare = entryOf(manifest);
    const index = indexOf([bare]);
    const server = await start(({ url }) => {
      if (url.includes('/referrers/')) return { status: 404 };
      if (url.endsWith(bare.digest)) return { body: manifest, headers: { 'content-type': OCI_MANIFEST } };
      return indexReply(index, { 'docker-content-digest': digestOf(Buffer.from(index)) });
    });
    expect(await list(server, 'x/sig')).toEqual([{ ...bare, artifactType: 'x/sig' }]);
    expect(await list(server, 'x/other')).toEqual([]);
  });

  it('whose tag names no index is refused', async () => {
    const manifest = JSON.stringify({ schemaVersion: 2, mediaType: OCI_MANIFEST, config: {}, layers: [] });
    const server = await start(({ url }) =>
      url.includes('/referrers/')
        ? { status: 404 }
        : {
            body: manifest,
            headers: { 'content-type': OCI_MANIFEST, 'docker-content-digest': digestOf(Buffer.from(manifest)) },
          },
    );
    await expect(list(server)).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
  });
});

describe('a pushed manifest with a subject', () => {
  const subject = entryOf('subject');
  const manifest = {
    schemaVersion: 2,
    mediaType: OCI_MANIFEST,
    artifactType: 'x/sig',
    config: {},
    layers: [],
    subject,
  };
  const bytes = Buffer.from(JSON.stringify({ ...manifest, annotations: { a: 'b' } }));
  const entry = { ...entryOf(bytes.toString(), { artifactType: 'x/sig' }), annotations: { a: 'b' } };

  /** A registry that keeps what is pushed under the referrers tag; `tamper` is somebody else who writes it too. */
  async function startKeeping(first: unknown[] | undefined, tamper: (index: string) => string = (index) => index) {
    let kept = first === undefined ? undefined : indexOf(first);
    const server = await start(({ method, url, body }) => {
      if (method === 'PUT') {
        if (url.endsWith(TAG)) kept = tamper(body.toString());
        return { status: 201 };
      }
      if (kept === undefined) return { status: 404 };
      return indexReply(kept, { 'docker-content-digest': digestOf(Buffer.from(kept)) });
    });
    const push = () =>
      clientFor(server).pushManifest(repositoryOf(server), digestOf(bytes), { bytes, mediaType: OCI_MANIFEST }, signal);
    const entries = (): unknown[] => {
      const index: { manifests: unknown[] } = JSON.parse(kept ?? '{"manifests":[]}');
      return index.manifests;
    };
    return { server, push, entries };
  }

  it.each<[string, unknown[] | undefined]>([
    ['begins the referrers tag', undefined],
    ['is added to the referrers tag', [entryOf('other')]],
  ])('%s where the registry does not say that it knows the subject', async (_, first) => {
    const { push, entries } = await startKeeping(first);
    await push();
    expect(entries()).toEqual([...(first ?? []), entry]);
    await push();
    expect(entries()).toHaveLength((first?.length ?? 0) + 1);
  });

  it('leaves the tag alone where the registry knows the subject', async () => {
    const server = await start(() => ({ status: 201, headers: { 'oci-subject': subject.digest } }));
    const push = { bytes, mediaType: OCI_MANIFEST };
    await clientFor(server).pushManifest(repositoryOf(server), 'v1', push, signal);
    expect(steps(server)).toEqual(['PUT /v2/a/b/manifests/v1']);
  });

  it('is entered again where somebody else wrote the tag in that moment', async () => {
    let lost = 0;
    const other = entryOf('other');
    const { push, entries } = await startKeeping([], (index) => ((lost += 1) === 1 ? indexOf([other]) : index));
    await push();
    expect(entries()).toEqual([other, entry]);
  });

  it('loses none of several that are attached at once', async () => {
    const { server, entries } = await startKeeping(undefined);
    const client = clientFor(server);
    const all = ['a', 'b', 'c', 'd', 'e'].map((name) =>
      Buffer.from(JSON.stringify({ ...manifest, annotations: { name } })),
    );
    await Promise.all(
      all.map((each) =>
        client.pushManifest(repositoryOf(server), digestOf(each), { bytes: each, mediaType: OCI_MANIFEST }, signal),
      ),
    );
    expect(entries()).toHaveLength(5);
  });

  it('fails where it cannot be entered at all', async () => {
    const { push } = await startKeeping([], () => indexOf([]));
    await expect(push()).rejects.toThrow('others keep writing the referrers tag');
  });
});

describe('referrersTag', () => {
  it.each([
    [`sha256:${'a'.repeat(64)}`, `sha256-${'a'.repeat(64)}`],
    [`sha512:${'b'.repeat(128)}`, `sha512-${'b'.repeat(64)}`],
  ])('of %s is as the specification cuts it', (digest, tag) => {
    expect(referrersTag(digest)).toBe(tag);
  });
});
