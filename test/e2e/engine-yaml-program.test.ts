import { rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { openEngineFixture, type EngineFixture } from './engine-fixture.ts';

const PROGRAM = `name: files
runtime: yaml
resources:
  kept:
    type: pulumi:index:Stash
    properties: {input: hello}
outputs: {said: "\${kept.output}"}
`;

let fixture: EngineFixture;
beforeAll(async () => void (fixture = await openEngineFixture()));
afterAll(() => fixture.close());

async function yamlRequest() {
  const request = await fixture.request({});
  for (const name of ['index.ts', 'text-file.ts', 'package.json', 'node_modules'])
    await rm(join(request.programDir, name));
  await writeFile(join(request.programDir, 'Pulumi.yaml'), PROGRAM);
  return request;
}

it('plans and applies a YAML program, which needs neither SDK nor provider plugin', async () => {
  const request = await yamlRequest();
  const { plan, summary } = await fixture.engine.preview(request);
  expect(summary).toEqual({ create: 2 });
  const applied = await fixture.engine.apply({ ...request, plan, gate: async () => [] });
  expect(applied).toMatchObject({ summary: { create: 2 }, checkpoint: { pendingOperations: [] } });
  expect(await fixture.engine.preview(await yamlRequest())).toMatchObject({ changes: [] });
});
