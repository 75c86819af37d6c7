import { afterAll, beforeAll, expect, it } from 'vitest';
import { stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
  await service.apply(tenant('shop'), tenant('bank'));
});
afterAll(() => service.close());

const at = (pulumi: object) => ({ pulumi: { stack: 'prod', ...pulumi } });

it.each([
  ['the same bucket', { backend: 's3://states/shared' }, { backend: 's3://states/shared' }],
  ['a folder below', { backend: 'gs://states/a' }, { backend: 'gs://states/a/b' }],
  ['the folder above', { backend: 'azblob://states/a/b' }, { backend: 'azblob://states/a' }],
  ['the same table', { backend: 'postgres://db/s?table=t' }, { backend: 'postgres://keeper@db:5432/s?table=t' }],
  [
    'the same organization',
    { backend: 'https://api.pulumi.com', organization: 'acme' },
    { backend: 'https://api.pulumi.com', organization: 'ACME' },
  ],
])('%s is refused to the second', async (_name, first, second) => {
  const name = `s${Math.abs(JSON.stringify(first).length)}`;
  expect((await service.apply(stack('shop', name, at(first)))).status).toBe(200);
  await expect(service.apply(stack('bank', name, at(second)))).rejects.toThrow(/422.*another tenant has this backend/);
  // To itself a tenant may give it again.
  expect((await service.apply(stack('shop', `${name}-two`, at(first)))).status).toBe(200);
});

it('a backend is refused with what is wrong and what to do', async () => {
  const refused = service.apply(
    stack('shop', 'bad', at({ backend: 'postgres://u:s3cr3t@db/s', environments: ['x/y'] })),
  );
  await expect(refused).rejects.toThrow(/422.*PGPASSWORD.*ESC environments/);
  await expect(refused).rejects.not.toThrow(/s3cr3t/);
});
