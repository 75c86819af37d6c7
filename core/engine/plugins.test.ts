import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { requiredPlugins } from './plugins.ts';

const scratch = mkdtempSync(join(tmpdir(), 'plumb-plugins-'));
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

function modulesWith(packages: Record<string, object>): string {
  const modules = join(mkdtempSync(join(scratch, 'program-')), 'node_modules');
  for (const [name, manifest] of Object.entries(packages)) {
    mkdirSync(join(modules, name), { recursive: true });
    writeFileSync(join(modules, name, 'package.json'), JSON.stringify({ name, ...manifest }));
  }
  return modules;
}

describe('the provider plugins of a program', () => {
  it('are those its packages declare, sorted', () => {
    const modules = modulesWith({
      '@pulumi/random': { version: '4.16.0', pulumi: { resource: true, name: 'random' } },
      '@acme/pulumi-toy': {
        version: '1.0.0',
        pulumi: { resource: true, name: 'toy', server: 'https://example.com/x', version: '2.0.0' },
      },
      left: { version: '1.0.0' },
    });
    expect(requiredPlugins(modules)).toEqual([
      { name: 'random', version: 'v4.16.0', server: '' },
      { name: 'toy', version: 'v2.0.0', server: 'https://example.com/x' },
    ]);
  });

  it.each([
    ['name', { name: '--file', version: '1.0.0' }],
    ['version', { name: 'toy', version: '1.0.0 --reinstall' }],
    ['server', { name: 'toy', version: '1.0.0', server: 'file:///etc' }],
  ])('are refused when a %s could mislead the installer', (_, pulumi) => {
    const modules = modulesWith({ toy: { version: '1.0.0', pulumi: { resource: true, ...pulumi } } });
    expect(() => requiredPlugins(modules)).toThrow(
      expect.objectContaining({ kind: 'stalled', reason: 'ProgramInvalid' }),
    );
  });
});
