import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { RunDetailView, RunView } from '#core/domain/view.ts';
import { moveRun } from '#core/store/runs.ts';
import { fingerprint, seedWaitingRun } from '../harness/seed.ts';
import { stack, startTestService, tenant, type TestService } from '../harness/service.ts';

let service: TestService;
let approver: string;
let count = 0;
let name: string;

beforeAll(async () => {
  service = await startTestService();
  await service.apply(tenant('shop'));
  approver = await service.token('shop', 'approver', 'alice');
});
beforeEach(async () => {
  count += 1;
  name = `web-${count}`;
  await service.apply(stack('shop', name, { pulumi: { stack: `prod-${count}` }, approval: { mode: 'manual' } }));
  service.rings.length = 0;
});
afterAll(() => service.close());

const decide = (word: string, number: number, planDigest: string, bearer = approver, comment = 'looked at it') =>
  service.call('POST', `/v1/tenants/shop/stacks/${name}/runs/${number}/${word}`, bearer, { planDigest, comment });

describe('an approval', () => {
  it('of the plan that waits is taken, rung for and shown with its author', async () => {
    const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name });
    const answer = await decide('approve', run.number, planDigest);
    expect(answer.status).toBe(200);
    expect(answer.as(RunView).state).toBe('approved');
    expect(service.rings).toEqual([{ tenant: 'shop', stackId: run.stack_id, queue: 'reconcile' }]);
    const detail = await service.call('GET', `/v1/tenants/shop/stacks/${name}/runs/${run.number}`, approver);
    expect(detail.as(RunDetailView)).toMatchObject({
      plan: { planDigest, changes: [{ name: 'reader', op: 'delete' }] },
      approvals: [{ actor: 'shop/alice', comment: 'looked at it', decision: 'approved', planDigest }],
    });
  });

  it('of the plan before it is refused with 409, and nothing changes', async () => {
    const old = await seedWaitingRun(service.db, { tenant: 'shop', stack: name, salt: 'old' });
    await service.db
      .transaction()
      .execute((trx) => moveRun(trx, { runId: old.run.id, from: 'awaiting_approval', to: 'superseded' }));
    const fresh = await seedWaitingRun(service.db, { tenant: 'shop', stack: name, salt: 'new' });
    const before = await fingerprint(service.db);
    for (const [number, digest] of [
      [fresh.run.number, old.planDigest],
      [old.run.number, old.planDigest],
    ] as const) {
      const answer = await decide('approve', number, digest);
      expect(answer.status).toBe(409);
      expect(answer.body).toMatchObject({ type: 'urn:plumbline:problem:conflict' });
    }
    expect(await fingerprint(service.db)).toBe(before);
    expect(service.rings).toEqual([]);
    expect((await decide('approve', fresh.run.number, fresh.planDigest)).status).toBe(200);
  });

  it('given twice is refused the second time', async () => {
    const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name });
    expect((await decide('approve', run.number, planDigest)).status).toBe(200);
    expect((await decide('approve', run.number, planDigest)).status).toBe(409);
  });

  it('given twice at the same moment counts once', async () => {
    const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name });
    const answers = await Promise.all([1, 2, 3, 4].map(() => decide('approve', run.number, planDigest)));
    expect(answers.map((answer) => answer.status).toSorted((a, b) => a - b)).toEqual([200, 409, 409, 409]);
  });

  it('that comes late is refused with 409', async () => {
    const expiresAt = new Date(Date.now() - 1000);
    const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name, expiresAt });
    const answer = await decide('approve', run.number, planDigest);
    expect(answer.status).toBe(409);
    expect(answer.text).toContain('expired');
  });

  it('takes as many different people as the stack asks for', async () => {
    const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name, required: 2 });
    expect((await decide('approve', run.number, planDigest)).as(RunView).state).toBe('awaiting_approval');
    expect((await decide('approve', run.number, planDigest)).status).toBe(409);
    const bob = await service.token('shop', 'approver');
    expect((await decide('approve', run.number, planDigest, bob)).as(RunView).state).toBe('approved');
  });

  it('names a digest: without one, or with half of one, it is not valid', async () => {
    const { run } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name });
    const url = `/v1/tenants/shop/stacks/${name}/runs/${run.number}/approve`;
    expect((await service.call('POST', url, approver, {})).status).toBe(422);
    expect((await service.call('POST', url, approver, { planDigest: 'sha256:ab' })).status).toBe(422);
    expect((await service.call('POST', url, approver)).status).toBeGreaterThanOrEqual(400);
  });
});

describe('a discard', () => {
  it('ends the run and says who did it and why', async () => {
    const { run, planDigest } = await seedWaitingRun(service.db, { tenant: 'shop', stack: name });
    const answer = await decide('discard', run.number, planDigest, approver, 'not on a Friday');
    expect(answer.as(RunView)).toMatchObject({ state: 'discarded', reason: 'PlanDiscarded' });
    expect(answer.text).toContain('not on a Friday');
    expect((await decide('approve', run.number, planDigest)).status).toBe(409);
  });
});

it('a run number that does not exist is 404, and one that is no number 400', async () => {
  const digest = `sha256:${'0'.repeat(64)}`;
  expect((await decide('approve', 99, digest)).status).toBe(404);
  const url = `/v1/tenants/shop/stacks/${name}/runs/first`;
  expect((await service.call('GET', url, approver)).status).toBe(400);
});
