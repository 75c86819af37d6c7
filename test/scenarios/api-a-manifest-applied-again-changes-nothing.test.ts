import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ApplyResultView } from '#core/domain/view.ts';
import { secret, stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
beforeAll(async () => {
  service = await startTestService();
});
afterAll(() => service.close());

describe('apply', () => {
  it('makes a tenant, a secret and a stack in one request, whatever their order', async () => {
    const answer = await service.apply(
      stack('shop', 'web', { pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } } }),
      secret('shop', 'db', { password: 'hunter22' }),
      tenant('shop'),
    );
    expect(answer.as(ApplyResultView).results).toMatchObject([
      { kind: 'Stack', action: 'created' },
      { kind: 'Secret', action: 'created' },
      { kind: 'Tenant', action: 'created' },
    ]);
  });
});
