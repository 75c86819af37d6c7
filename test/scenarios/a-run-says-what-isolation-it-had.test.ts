import { afterEach, expect, it } from 'vitest';
import type { StackSpec } from '#core/domain/manifest.ts';
import type { EngineRequest } from '#core/engine/port.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

const MIB = 1024 ** 2;

/** Plans one artifact, and gives what the engine was asked for. */
async function plan(config: Record<string, string>, spec: Partial<StackSpec> = {}): Promise<EngineRequest[]> {
  plumbline = await startTestPlumbline({ config });
  const asked: EngineRequest[] = [];
  const { engine } = plumbline;
  const { preview } = engine;
  engine.preview = (request) => {
    asked.push(request);
    return preview(request);
  };
  await plumbline.stack('shop', spec);
  await plumbline.push({ resources: { web: { size: 1 } } });
  return asked;
}

it('a run keeps to the limits of its stack and the lists of the installation and the stack, and says so', async () => {
  const asked = await plan(
    { PLUMBLINE_NETWORK: 'filtered', PLUMBLINE_EGRESS_ALLOW: '*.amazonaws.com', PLUMBLINE_RUN_PROCESSES: '100' },
    { limits: { memoryMb: 512, processes: 5_000 }, network: { egress: ['api.example.com:8443'] } },
  );
  const { number } = await plumbline.untilRun('shop', ['awaiting_approval']);
  expect(asked[0]).toMatchObject({
    limits: { memoryBytes: 512 * MIB, processes: 100, fileBytes: 2_048 * MIB },
    network: { mode: 'filtered', egress: ['*.amazonaws.com', 'api.example.com:8443'], metadata: false },
  });
  const { run } = await plumbline.run('shop', number);
  expect(run.isolation).toMatch(/^namespaces: .*and network: egress by the allow-list, no metadata address$/);
});

it('a run that is a plain process says what is lost, and the log of the worker does', async () => {
  await plan({ PLUMBLINE_ISOLATION: 'none' });
  const { number } = await plumbline.untilRun('shop', ['awaiting_approval']);
  const { run } = await plumbline.run('shop', number);
  expect(run.isolation).toMatch(/^none: .*Lost: .*never proved dead$/);
  expect(plumbline.log.join('\n')).toMatch(/the run is not isolated/);
});

it('a stack that wants the metadata address without its tenant stalls, and no program is run', async () => {
  const asked = await plan({ PLUMBLINE_NETWORK: 'filtered' }, { network: { metadata: true } });
  await plumbline.untilRun('shop', ['errored']);
  const { message } = await plumbline.untilCondition('shop', 'Stalled', 'SpecInvalid');
  expect(message).toContain('the Tenant must allow it first');
  expect(asked).toEqual([]);
});
