import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import {
  describeBytes,
  digestOf,
  imageManifest,
  MANIFEST_TYPE,
  pushBlob,
  putManifest,
  type RawDescriptor,
} from '../test/harness/raw-registry.ts';
import { temporaryRegistry } from '../test/harness/temporary-registry.ts';

let registry: Awaited<ReturnType<typeof temporaryRegistry>>;
let base: string;
let config: RawDescriptor;
beforeAll(async () => {
  registry = await temporaryRegistry();
  base = `${registry.url}/v2/infra/shop`;
  config = await pushBlob(base, '{}', 'application/vnd.oci.empty.v1+json');
});
afterAll(() => registry.close());

function nextOf(answer: Response): string | undefined {
  const link = /^<([^>]+)>; rel="next"$/.exec(answer.headers.get('link') ?? '')?.[1];
  return link === undefined ? undefined : new URL(link, registry.url).href;
}

describe('the list of tags', () => {
  beforeAll(async () => {
    const bytes = imageManifest({ config, layers: [] });
    for (const tag of ['v2', 'v10', 'latest', 'V1', 'b']) await putManifest(base, tag, bytes);
  });
  const all = ['V1', 'b', 'latest', 'v10', 'v2'];

  it.each([
    ['', all, undefined],
    ['?n=5', all, undefined],
    ['?n=100', all, undefined],
    ['?n=2', ['V1', 'b'], 'n=2&last=b'],
    ['?n=2&last=b', ['latest', 'v10'], 'n=2&last=v10'],
    ['?n=2&last=v10', ['v2'], undefined],
    ['?last=between', ['latest', 'v10', 'v2'], undefined],
    ['?last=zzz', [], undefined],
    ['?n=0', [], undefined],
  ])('with %j is %j, then %s', async (query, tags, next) => {
    const answer = await fetch(`${base}/tags/list${query}`);
    expect(await answer.json()).toEqual({ name: 'infra/shop', tags });
    expect(nextOf(answer)).toBe(next === undefined ? undefined : `${base}/tags/list?${next}`);
  });

  it.each(['n=-1', 'n=two', 'n=1e3', 'n='])('with %s is refused', async (query) => {
    expect((await fetch(`${base}/tags/list?${query}`)).status).toBe(400);
  });

  it('of a repository nobody pushed to does not exist', async () => {
    expect((await fetch(`${registry.url}/v2/nobody/tags/list`)).status).toBe(404);
  });
});

describe('the list of referrers', () => {
  async function refer(subject: RawDescriptor, artifactType: string, note: string): Promise<string> {
    const bytes = imageManifest({ config, layers: [], subject, artifactType, annotations: { note } });
    const answer = await putManifest(base, digestOf(bytes), bytes);
    expect([answer.status, answer.headers.get('oci-subject')]).toEqual([201, subject.digest]);
    return digestOf(bytes);
  }
  async function list(query: string): Promise<{ digests: string[]; answer: Response }> {
    const answer = await fetch(query.startsWith('http') ? query : `${base}/referrers/${query}`);
    const { manifests } = (await answer.json()) as { manifests: RawDescriptor[] };
    return { digests: manifests.map((manifest) => manifest.digest), answer };
  }

  it('is empty for a digest nobody knows, in any repository', async () => {
    const answer = await fetch(`${registry.url}/v2/nobody/referrers/${digestOf('nothing')}`);
    expect(answer.status).toBe(200);
    expect(answer.headers.get('content-type')).toBe('application/vnd.oci.image.index.v1+json');
    expect(await answer.json()).toMatchObject({ schemaVersion: 2, manifests: [] });
  });

  it('takes referrers before their subject, filters by type, and forgets the deleted', async () => {
    const subject = describeBytes('comes later', MANIFEST_TYPE);
    const signature = await refer(subject, 'application/signature', 'signed');
    const report = await refer(subject, 'application/report', 'scanned');
    expect((await list(subject.digest)).digests.sort()).toEqual([signature, report].sort());
    const filtered = await list(`${subject.digest}?artifactType=application/signature`);
    expect(filtered.digests).toEqual([signature]);
    expect(filtered.answer.headers.get('oci-filters-applied')).toBe('artifactType');
    await fetch(`${base}/manifests/${signature}`, { method: 'DELETE' });
    expect((await list(subject.digest)).digests).toEqual([report]);
  });

  it('of many referrers comes in pages no larger than a manifest may be', async () => {
    const subject = describeBytes('much talked about', MANIFEST_TYPE);
    const pushed: string[] = [];
    for (const letter of 'abcde') pushed.push(await refer(subject, 'application/report', letter.repeat(1_500_000)));
    const seen: string[] = [];
    let pages = 0;
    for (let next: string | undefined = `${subject.digest}?artifactType=application/report`; next; pages++) {
      const { digests, answer } = await list(next);
      seen.push(...digests);
      next = nextOf(answer);
    }
    expect(seen).toEqual(pushed.sort());
    expect(pages).toBe(5);
  });
});
