import { randomBytes } from 'node:crypto';
import { gzipSync } from 'node:zlib';
import { access, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { makeTar, type TarItem } from '#core/oci/test-tar.ts';
import { openVictim, pushProgramLayer, startWithLimits, type Complaint, type Victim } from '../harness/bad-source.ts';
import type { TestPlumbline } from '../harness/plumbline.ts';

const MIB = 1024 * 1024;
const program: TarItem = { name: 'Pulumi.yaml', content: 'name: shop\nruntime: nodejs\n' };
const link = (name: string, linkname: string): TarItem => ({ name, type: 'symlink', linkname });

let plumbline: TestPlumbline;
let victim: Victim;
beforeAll(async () => {
  plumbline = await startWithLimits({
    PLUMBLINE_MAX_ARTIFACT_MB: '1',
    PLUMBLINE_MAX_UNPACKED_MB: '18',
    PLUMBLINE_MAX_ENTRIES: '100',
  });
  victim = await openVictim(plumbline, 'shop');
});
afterAll(() => plumbline.close());

async function expectRefused(layer: Buffer, { reason, says }: Complaint): Promise<void> {
  await victim.refuses((source) => pushProgramLayer(source, layer), { reason, says: ['infra/shop@sha256:', ...says] });
}

describe('an archive with', () => {
  it.each<[string, TarItem, string]>([
    ['`../` in a path', { name: '../evil', content: 'x' }, '"../evil", which leads out of the folder'],
    ['`../` in the middle of a path', { name: 'a/../../../evil', content: 'x' }, 'which leads out of the folder'],
    [
      'an absolute path',
      { name: '/tmp/plumbline-evil', content: 'x' },
      '"/tmp/plumbline-evil", which is an absolute path',
    ],
    ['a link to an absolute path', link('passwd', '/etc/passwd'), '"passwd", a link to an absolute path'],
    ['a link that leads out', link('out', '../../../evil'), '"out", a link that leads out of the folder'],
    [
      'a hard link',
      { name: 'hard', type: 'link', linkname: 'Pulumi.yaml' },
      '"hard", a link and neither file, folder nor symbolic link',
    ],
    ['a hard link out', { name: 'hard', type: 'link', linkname: '/etc/passwd' }, '"hard", a link and neither'],
    [
      'a character device',
      { name: 'null', type: 'character-device', devmajor: 1, devminor: 3 },
      '"null", a character-device',
    ],
    ['a block device', { name: 'sda', type: 'block-device', devmajor: 8, devminor: 0 }, '"sda", a block-device'],
    ['a fifo', { name: 'pipe', type: 'fifo' }, '"pipe", a fifo'],
  ])('%s is refused by the name of the entry, and nothing is unpacked', async (_what, item, says) => {
    const layer = gzipSync(await makeTar([program, item]));
    await expectRefused(layer, { reason: 'UnpackRefused', says: [says, 'Take it out and push again'] });
    await expect(access('/tmp/plumbline-evil')).rejects.toThrow('ENOENT');
    const around = await readdir(dirname(plumbline.deps.config.dataDir), { recursive: true });
    expect(around.filter((path) => path.endsWith('evil'))).toEqual([]);
  });
});

describe('an archive that is too large is refused with the limit and what to do:', () => {
  it('a bomb that unpacks to many times its size', async () => {
    const layer = gzipSync(await makeTar([program, { name: 'zeros', content: Buffer.alloc(17 * MIB) }]));
    expect(layer.byteLength).toBeLessThan(MIB);
    await expectRefused(layer, {
      reason: 'ArtifactTooLarge',
      says: ['more than 200 times its size, as a bomb does', 'push again'],
    });
  });

  it('a bomb of very many entries', async () => {
    const files = Array.from({ length: 100 }, (_, index): TarItem => ({ name: `file-${index}` }));
    const layer = gzipSync(await makeTar([program, ...files]));
    await expectRefused(layer, {
      reason: 'ArtifactTooLarge',
      says: ['allowed 100 files and folders', 'raise PLUMBLINE_MAX_ENTRIES'],
    });
  });

  it('too many bytes once unpacked', async () => {
    // Noise enough to be no bomb.
    const content = Buffer.concat([randomBytes(MIB / 2), Buffer.alloc(18 * MIB)]);
    const layer = gzipSync(await makeTar([program, { name: 'large', content }]));
    await expectRefused(layer, {
      reason: 'ArtifactTooLarge',
      says: [`allowed ${18 * MIB} bytes`, 'raise PLUMBLINE_MAX_UNPACKED_MB'],
    });
  });

  it('too many bytes as stored, of which none is fetched', async () => {
    const says = [
      `has ${2 * MIB} bytes of layers`,
      `allowed ${MIB}`,
      '.sourceignore',
      'raise PLUMBLINE_MAX_ARTIFACT_MB',
    ];
    await expectRefused(randomBytes(2 * MIB), { reason: 'ArtifactTooLarge', says });
    expect(await readdir(join(plumbline.deps.config.dataDir, 'cache/artifacts'))).toEqual([plumbline.tenant]);
  });
});

describe('a layer that is no archive is refused:', () => {
  it.each<[string, () => Promise<Buffer>]>([
    ['noise', async () => randomBytes(5000)],
    ['a tar that is not compressed', () => makeTar([program])],
    [
      'a cut archive',
      async () => gzipSync(await makeTar([program, { name: 'a', content: randomBytes(5000) }])).subarray(0, 3000),
    ],
  ])('%s', async (_what, layer) => {
    await expectRefused(await layer(), {
      reason: 'ArtifactInvalid',
      says: ['a layer is no readable tar archive', 'pack and push it again'],
    });
  });
});
