import { cp, mkdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { NO_POLICIES, overridesFor } from '#core/domain/policy.ts';
import { policyFolder } from '#core/engine/policies.ts';
import type { EngineRequest, PolicyPack } from '#core/engine/port.ts';
import { openEngineFixture, stashes, type EngineFixture } from './engine-fixture.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

let fixture: EngineFixture;
beforeAll(async () => void (fixture = await openEngineFixture()));
afterAll(() => fixture.close());

const STACK = 'urn:pulumi:test::files::pulumi:pulumi:Stack::files-test';
const urnOf = (name: string) => `urn:pulumi:test::files::pulumi:index:Stash::${name}`;

const said = (policy: string, urn: string, level = 'mandatory') => ({ pack: 'words', policy, level, urn });

/** A YAML program that keeps these words, under the pack of test/e2e/programs/policies, or one of another `source`. */
async function underPack(words: Record<string, string>, config: PolicyPack['config'] = {}, source?: string) {
  const request = await fixture.yamlRequest(stashes(words), { environment: { TOKEN: 'of the run' } });
  const dir = join(policyFolder(request.runDir), '0-pack');
  await mkdir(policyFolder(request.runDir));
  await cp(join(import.meta.dirname, 'programs/policies'), dir, { recursive: true });
  await symlink(join(import.meta.dirname, '../../node_modules'), join(dir, 'node_modules'));
  if (source !== undefined) await writeFile(join(dir, 'index.js'), source);
  return { ...request, policyPacks: [{ name: 'policies/words', dir, digest: DIGEST, config }] };
}

const apply = (request: EngineRequest, plan: Buffer, policyOverrides: string[] = []) =>
  fixture.engine.apply({ ...request, policyOverrides, plan, gate: async () => [] });

const stateText = () => readFile(join(fixture.stateDir, '.pulumi/stacks/files/test.json'), 'utf8');

it('puts on the plan what was mended and what is violated, and applies exactly what was overridden', async () => {
  const words = { a: 'so forbidden', b: 'trim me  ', c: 'LOUD' };
  const request = await underPack(words, { 'few-words': 'mandatory', trimmed: { enforcementLevel: 'remediate' } });
  const { plan, policies } = await fixture.engine.preview(request);
  expect(policies).toEqual({
    packs: [{ name: 'words', version: '1.2.0', digest: DIGEST }],
    violations: [
      { ...said('few-words', STACK), message: 'A stack has two words at most.\ntoo many words' },
      { ...said('no-shouting', urnOf('c'), 'advisory'), message: 'Words are in lower case.\nLOUD is loud' },
      { ...said('nothing-forbidden', urnOf('a')), message: 'Nothing says what it must not.\nit says so forbidden' },
    ],
    remediations: [
      {
        pack: 'words',
        policy: 'trimmed',
        urn: urnOf('b'),
        before: { input: 'trim me  ' },
        after: { input: 'trim me' },
      },
    ],
  });
  const overrides = overridesFor(policies ?? NO_POLICIES);
  expect(overrides).toEqual([`words/few-words ${STACK}`, `words/nothing-forbidden ${urnOf('a')}`]);
  // One of two is not both.
  const before = await stateText();
  await expect(apply(request, plan, overrides.slice(1))).rejects.toMatchObject({
    reason: 'PlanStale',
    message: expect.stringMatching(/words\/few-words on files-test: .*too many words.*nothing was changed/),
  });
  expect(await stateText()).toBe(before);
  await apply(request, plan, overrides);
  const state = await stateText();
  expect(state).toContain('so forbidden');
  expect(state).toContain('"trim me"');
  expect(state).not.toContain('trim me  ');
});

it('says which pack crashes while it looks at a resource, and never that nothing was found', async () => {
  // It prints a megabyte before, which is not kept.
  const source = `
    const { PolicyPack } = require('@pulumi/policy');
    const policy = { name: 'p', description: 'd', enforcementLevel: 'mandatory', validateResource: () => process.exit(1) };
    for (let line = 0; line < 10_000; line++) console.error('x'.repeat(100));
    new PolicyPack('words', { policies: [policy] });`;
  const request = await underPack({ a: 'one' }, {}, source);
  await expect(fixture.engine.preview(request)).rejects.toMatchObject({
    reason: 'PolicyPackFailed',
    kind: 'transient',
    message: expect.stringContaining('policy pack policies/words'),
  });
});
