import { describe, expect, it } from 'vitest';
import { contentOf, readBlob, readManifest } from './content.ts';
import { OCI_MANIFEST } from './media-types.ts';
import type { Fetcher, Resolver } from './port.ts';

const signal = AbortSignal.timeout(10_000);
const repository = { host: 'r.io', name: 'shop' };
const content = contentOf(Buffer.from('{}'), OCI_MANIFEST);

function start() {
  const asked: string[] = [];
  const source: Resolver & Fetcher = {
    async resolve() {
      asked.push('resolve');
      return content.descriptor;
    },
    async fetch() {
      asked.push('fetch');
      return content.open();
    },
  };
  return { source, asked };
}

describe('readManifest', () => {
  it('takes no tag: tags are resolved once, elsewhere', async () => {
    const { source, asked } = start();
    await expect(readManifest(source, repository, 'latest', signal)).rejects.toMatchObject({
      reason: 'InvalidReference',
    });
    expect(asked).toEqual([]);
  });

  it('asks what a digest is, and nothing where that is known', async () => {
    const { source, asked } = start();
    const manifest = { bytes: Buffer.from('{}'), mediaType: OCI_MANIFEST };
    expect(await readManifest(source, repository, content.descriptor.digest, signal)).toEqual(manifest);
    expect(await readManifest(source, repository, content.descriptor, signal)).toEqual(manifest);
    expect(asked).toEqual(['resolve', 'fetch', 'fetch']);
  });
});

describe('readBlob', () => {
  it('asks for nothing that is larger than allowed', async () => {
    const { source, asked } = start();
    const failed = readBlob(source, repository, { ...content.descriptor, size: 101 }, 100, signal);
    await expect(failed).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactTooLarge' });
    expect(asked).toEqual([]);
  });
});
