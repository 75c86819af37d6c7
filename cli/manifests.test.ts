import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { inTenant, parseManifests, readManifests } from './manifests.ts';

const dir = mkdtempSync(join(tmpdir(), 'manifests-'));
afterAll(() => rmSync(dir, { recursive: true }));

describe('readManifests', () => {
  it('reads the manifests of a folder in the order of their names, and nothing else', async () => {
    writeFileSync(join(dir, 'b.yaml'), 'kind: B\n---\n\n---\nkind: C\n');
    writeFileSync(join(dir, 'a.json'), '{"kind": "A"}');
    writeFileSync(join(dir, 'notes.txt'), 'kind: X');
    expect(await readManifests([dir])).toEqual([{ kind: 'A' }, { kind: 'B' }, { kind: 'C' }]);
  });

  it('names a path that is not there', async () => {
    await expect(readManifests([join(dir, 'none')])).rejects.toThrow('none cannot be read');
  });
});

describe('parseManifests', () => {
  it('names the place of a mistake without repeating what the file holds', () => {
    const parse = () => parseManifests('secret.yaml', 'spec:\n  data: {password: hunter2\n  x: 1\n');
    expect(parse).toThrow(/^secret\.yaml: .*line \d+, column \d+/);
    expect(parse).not.toThrow('hunter2');
  });

  it('refuses aliases that multiply', () => {
    const bomb = [
      'a: &a [x,x,x,x,x,x,x,x,x,x]',
      ...'bcdef'.split('').map((name, at) => `${name}: &${name} [${Array(10).fill(`*${'abcdef'[at]}`).join(',')}]`),
    ];
    expect(() => parseManifests('bomb.yaml', bomb.join('\n'))).toThrow('alias');
  });
});

describe('inTenant', () => {
  it.each([
    ['fills in', { kind: 'Stack', metadata: { name: 'a' } }, 'shop'],
    ['never changes', { kind: 'Stack', metadata: { name: 'a', tenant: 'bank' } }, 'bank'],
    ['leaves out for a Tenant', { kind: 'Tenant', metadata: { name: 'a' } }, undefined],
  ])('%s the tenant', (_what, manifest, tenant) => {
    expect(inTenant(manifest, 'shop')).toEqual({
      ...manifest,
      metadata: { ...manifest.metadata, ...(tenant !== undefined && { tenant }) },
    });
  });
});
