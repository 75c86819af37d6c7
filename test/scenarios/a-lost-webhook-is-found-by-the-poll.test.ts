import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

it('with no webhook at all a push is found within the interval', async () => {
  plumbline = await startTestPlumbline({ webhook: false });
  const source = { repository: `oci://${plumbline.registryHost}/infra/shop`, ref: { tag: 'prod' }, interval: '1s' };
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.stack('shop', { source, approval: { mode: 'auto' } });
  await plumbline.untilRun('shop', ['applied']);
  const digest = await plumbline.push({ resources: { web: { size: 2 } } });
  expect(await plumbline.untilRun('shop', ['applied'], 1)).toMatchObject({ digest });
});
