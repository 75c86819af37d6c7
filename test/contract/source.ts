import { randomBytes } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentOf, readBlob, readManifest } from '#core/oci/content.ts';
import { digestOf } from '#core/oci/digest.ts';
import { EMPTY_CONFIG, EMPTY_CONFIG_BYTES, OCI_INDEX, OCI_MANIFEST } from '#core/oci/media-types.ts';
import type { Descriptor, Pusher, Repository, Source } from '#core/oci/port.ts';

/** Something that stands behind the ports. */
export interface StartedSource {
  source: Source;
  pusher: Pusher;
  repository: Repository;
  /** Puts other bytes in the place of a blob, as a broken disk or an attacker does. */
  spoil(digest: string, bytes: Buffer): Promise<void>;
  close(): Promise<void>;
}

const LIMIT_MS = 30_000;
const BLOB_TYPE = 'application/octet-stream';
const SMALL = 1024;

/** What Resolver, Fetcher, TagLister, ReferrerLister and Pusher promise; run against each of their implementations. */
export function describeSource(name: string, start: () => Promise<StartedSource>): void {
  describe(`${name} behind the ports`, () => {
    let started: StartedSource;
    const signal = () => AbortSignal.timeout(LIMIT_MS);

    beforeAll(async () => {
      started = await start();
    });
    afterAll(() => started?.close());

    async function pushBlob(bytes: Uint8Array, mediaType = BLOB_TYPE): Promise<Descriptor> {
      const content = contentOf(bytes, mediaType);
      await started.pusher.pushBlob(started.repository, content, signal());
      return content.descriptor;
    }

    async function pushImage(reference: string | undefined, more: Record<string, unknown> = {}): Promise<Descriptor> {
      const config = await pushBlob(EMPTY_CONFIG_BYTES, EMPTY_CONFIG);
      const layers = [await pushBlob(randomBytes(100))];
      const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config, layers, ...more };
      return pushJson(reference, manifest, OCI_MANIFEST);
    }

    async function pushJson(reference: string | undefined, manifest: object, mediaType: string): Promise<Descriptor> {
      const bytes = Buffer.from(JSON.stringify(manifest));
      const { repository, pusher } = started;
      return pusher.pushManifest(repository, reference ?? digestOf(bytes), { bytes, mediaType }, signal());
    }

    const resolve = (reference: string) => started.source.resolve(started.repository, reference, signal());
    const read = (descriptor: Descriptor) =>
      readBlob(started.source, started.repository, descriptor, 64 * 1024 * 1024, signal());

    describe('resolve', () => {
      it('finds a manifest by its tag and by its digest', async () => {
        const pushed = await pushImage('found');
        expect(pushed).toMatchObject({ mediaType: OCI_MANIFEST });
        expect(await resolve('found')).toEqual(pushed);
        expect(await resolve(pushed.digest)).toEqual(pushed);
      });

      it('finds a manifest that no tag names', async () => {
        const pushed = await pushImage(undefined);
        expect(await resolve(pushed.digest)).toEqual(pushed);
      });

      it('follows a tag that was moved, and keeps what it named before', async () => {
        const [first, second] = [await pushImage('moving'), await pushImage('moving')];
        expect(await resolve('moving')).toEqual(second);
        expect(await resolve(first.digest)).toEqual(first);
      });

      it.each(['no-such-tag', `sha256:${'0'.repeat(64)}`, `sha512:${'0'.repeat(128)}`])(
        'says that %s is not there',
        async (reference) => {
          await pushImage('something');
          await expect(resolve(reference)).rejects.toMatchObject({ kind: 'transient', reason: 'SourceNotFound' });
        },
      );
    });

    describe('fetch', () => {
      it.each([0, 1, 3_000_000])('gives the very bytes of a blob of %i bytes', async (size) => {
        const bytes = randomBytes(size);
        const descriptor = await pushBlob(bytes);
        expect(digestOf(await read(descriptor))).toBe(digestOf(bytes));
        // Again: by now a cache has it.
        expect((await read(descriptor)).byteLength).toBe(size);
      });

      it('gives the very bytes of a manifest and an index', async () => {
        const manifest = await pushImage('fetched');
        const index = { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [manifest] };
        const pushed = await pushJson('fetched-index', index, OCI_INDEX);
        const found = await readManifest(started.source, started.repository, pushed.digest, signal());
        expect(found).toEqual({ bytes: Buffer.from(JSON.stringify(index)), mediaType: OCI_INDEX });
        expect(digestOf(await read(manifest))).toBe(manifest.digest);
      });

      it.each<[string, (bytes: Buffer) => Buffer]>([
        ['a flipped byte', (bytes) => Buffer.concat([Buffer.from([(bytes[0] ?? 0) ^ 1]), bytes.subarray(1)])],
        ['missing bytes', (bytes) => bytes.subarray(0, -1)],
        ['no bytes at all', () => Buffer.alloc(0)],
        ['trailing bytes', (bytes) => Buffer.concat([bytes, Buffer.from('x')])],
        ['another content', (bytes) => randomBytes(bytes.byteLength)],
      ])('never takes %s for the content', async (_, spoilt) => {
        const bytes = randomBytes(SMALL);
        const descriptor = await pushBlob(bytes);
        await started.spoil(descriptor.digest, spoilt(bytes));
        await expect(read(descriptor)).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
        await started.spoil(descriptor.digest, bytes);
        expect(await read(descriptor)).toEqual(bytes);
      });

      it.each([SMALL - 1, SMALL + 1])(
        'refuses content that is not of the %i bytes its descriptor says',
        async (size) => {
          const descriptor = await pushBlob(randomBytes(SMALL));
          await expect(read({ ...descriptor, size })).rejects.toMatchObject({ reason: 'DigestMismatch' });
        },
      );

      it.each([BLOB_TYPE, OCI_MANIFEST])('says that a digest of type %s is not there', async (mediaType) => {
        await pushImage('something');
        const descriptor = { mediaType, digest: `sha256:${'1'.repeat(64)}`, size: 5 };
        await expect(read(descriptor)).rejects.toMatchObject({ kind: 'transient', reason: 'SourceNotFound' });
      });

      it.each(['latest', '../../etc/passwd', 'sha256:../..', 'md5:00'])('refuses %s for a digest', async (digest) => {
        const descriptor = { mediaType: BLOB_TYPE, digest, size: 5 };
        await expect(read(descriptor)).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
      });

      it('refuses a manifest of another type than its descriptor says', async () => {
        const pushed = await pushImage('typed');
        const failed = read({ ...pushed, mediaType: OCI_INDEX });
        await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
      });
    });

    it('lists every tag once', async () => {
      await pushImage('listed-1');
      await pushImage('listed-1');
      await pushImage('listed-2');
      await pushImage(undefined);
      const tags = await started.source.tags(started.repository, signal());
      expect(tags.filter((tag) => tag.startsWith('listed-')).toSorted()).toEqual(['listed-1', 'listed-2']);
    });

    describe('referrers', () => {
      const referrers = (digest: string, artifactType?: string) =>
        started.source.referrers(
          started.repository,
          digest,
          artifactType === undefined ? {} : { artifactType },
          signal(),
        );

      it('are listed with their type and annotations, all or of one type', async () => {
        const subject = await pushImage('subject');
        const signature = await pushImage(undefined, { subject, artifactType: 'x/signature', annotations: { a: 'b' } });
        const sbom = await pushImage(undefined, { subject, artifactType: 'x/sbom' });
        const all = await referrers(subject.digest);
        expect(all.map(({ digest }) => digest).toSorted()).toEqual([signature.digest, sbom.digest].toSorted());
        const [found, ...more] = await referrers(subject.digest, 'x/signature');
        expect(found).toEqual({ ...signature, artifactType: 'x/signature', annotations: { a: 'b' } });
        expect(more).toEqual([]);
        expect(await referrers(subject.digest, 'x/other')).toEqual([]);
      });

      it('are of the type of their config where they name none', async () => {
        const subject = await pushImage('subject-of-old');
        await pushImage(undefined, { subject });
        expect(await referrers(subject.digest, EMPTY_CONFIG)).toHaveLength(1);
      });

      it('may come before their subject', async () => {
        const subject = { mediaType: OCI_MANIFEST, digest: digestOf(randomBytes(9)), size: 9 };
        await pushImage(undefined, { subject, artifactType: 'x/early' });
        expect(await referrers(subject.digest)).toHaveLength(1);
      });

      it('are none of what has none', async () => {
        const { digest } = await pushImage('alone');
        expect(await referrers(digest)).toEqual([]);
        expect(await referrers(`sha256:${'2'.repeat(64)}`)).toEqual([]);
      });
    });

    describe('push', () => {
      it('sends no blob twice', async () => {
        const content = contentOf(randomBytes(SMALL), BLOB_TYPE);
        let opened = 0;
        const counted = {
          ...content,
          open() {
            opened += 1;
            return content.open();
          },
        };
        const push = () => started.pusher.pushBlob(started.repository, counted, signal());
        expect(await push()).toEqual({ existed: false });
        expect(await push()).toEqual({ existed: true });
        expect(opened).toBe(1);
      });

      it.each<[string, (bytes: Buffer) => Buffer]>([
        ['other', (bytes) => randomBytes(bytes.byteLength)],
        ['fewer', (bytes) => bytes.subarray(1)],
        ['more', (bytes) => Buffer.concat([bytes, bytes])],
      ])('keeps nothing of a content that has %s bytes than it says', async (_, changed) => {
        const bytes = randomBytes(SMALL);
        const { descriptor } = contentOf(bytes, BLOB_TYPE);
        const { open } = contentOf(changed(bytes), BLOB_TYPE);
        const failed = started.pusher.pushBlob(started.repository, { descriptor, open }, signal());
        await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
        await expect(read(descriptor)).rejects.toMatchObject({ reason: 'SourceNotFound' });
      });

      it('refuses a manifest under the digest of another', async () => {
        const { digest } = await pushImage(undefined);
        const failed = pushJson(digest, { schemaVersion: 2, mediaType: OCI_INDEX, manifests: [] }, OCI_INDEX);
        await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'DigestMismatch' });
      });
    });
  });
}
