import { digestOf } from '#core/domain/plan.ts';
import type { BoundDocument, ResourceChange } from '#core/domain/plan.ts';
import type { Database } from '#core/store/database.ts';
import { savePlan } from '#core/store/plans.ts';
import { createRun, getRunById, moveRun, type RunRow } from '#core/store/runs.ts';
import { getStack } from '#core/store/stacks.ts';

export const digestA = `sha256:${'a'.repeat(64)}`;

const change: ResourceChange = {
  urn: 'urn:pulumi:prod::shop::postgres:Role::reader',
  type: 'postgres:Role',
  name: 'reader',
  op: 'delete',
  diffs: [{ path: 'login', kind: 'update', replaces: false, before: true, after: false }],
  lostProtection: false,
  isProvider: false,
  unknowns: [],
};

function boundTo(run: RunRow, stack: string, salt: string): BoundDocument {
  return {
    tenant: run.tenant,
    stack,
    generation: run.generation,
    operation: run.operation,
    targets: [],
    identity: { backend: 'file:///state', organization: 'organization', project: 'shop', stack: 'prod' },
    checkpoint: 'absent',
    artifact: run.digest,
    verification: { state: 'unsigned', trustKey: 'sha256:0', signers: [] },
    path: '.',
    dependencies: 'none',
    plan: digestOf(salt),
    settings: 'passphrase',
    config: {},
    environment: {},
    credentials: {},
    versions: { engine: '3.259.0' },
    flags: [],
    rule: { mode: 'manual' },
    summary: { delete: 1 },
    shown: digestOf([change]),
    unknowns: [],
  };
}

/** What a worker would have written: a run that waits for approval of a plan, the stack's former ones superseded. */
export async function seedWaitingRun(
  db: Database,
  at: { tenant: string; stack: string; salt?: string; required?: number; expiresAt?: Date },
): Promise<{ run: RunRow; planDigest: string }> {
  const stack = await getStack(db, at.tenant, at.stack);
  if (stack === undefined) throw new Error(`no stack ${at.stack}`);
  return await db.transaction().execute(async (trx) => {
    const run = await createRun(trx, {
      tenant: at.tenant,
      stackId: stack.id,
      operation: 'update',
      trigger: 'revision',
      revision: `prod@${digestA}`,
      digest: digestA,
      generation: stack.generation,
      spec: stack.spec,
      targets: [],
      requestedBy: stack.spec_by,
    });
    const bound = boundTo(run, at.stack, at.salt ?? 'first');
    const planDigest = digestOf(bound);
    for (const [from, to] of [
      ['pending', 'verifying'],
      ['verifying', 'fetching'],
      ['fetching', 'planning'],
    ] as const) {
      await moveRun(trx, { runId: run.id, from, to });
    }
    const bytes = Buffer.from('sealed');
    await savePlan(trx, { tenant: at.tenant, runId: run.id, planDigest, bound, changes: [change], bytes });
    await moveRun(trx, {
      runId: run.id,
      from: 'planning',
      to: 'awaiting_approval',
      patch: {
        plan_digest: planDigest,
        summary: JSON.stringify({ delete: 1 }),
        needs: JSON.stringify(['delete of reader (postgres:Role)']),
        approvals_required: at.required ?? 1,
        expires_at: at.expiresAt ?? null,
      },
    });
    const waiting = await getRunById(trx, run.id);
    if (waiting === undefined) throw new Error('the run is gone');
    return { run: waiting, planDigest };
  });
}

/** Everything in the database that people or workers act on, as one text: equal before and after means nothing changed. */
export async function fingerprint(db: Database): Promise<string> {
  const tables = [
    await db.selectFrom('stacks').selectAll().orderBy('id').execute(),
    await db.selectFrom('runs').selectAll().orderBy('id').execute(),
    await db.selectFrom('approvals').selectAll().orderBy('id').execute(),
    await db.selectFrom('events').selectAll().orderBy('id').execute(),
    await db.selectFrom('tokens').selectAll().orderBy('id').execute(),
    await db.selectFrom('secrets').selectAll().orderBy('name').execute(),
    await db.selectFrom('receivers').selectAll().orderBy('name').execute(),
    await db.selectFrom('deliveries').selectAll().orderBy('key').execute(),
    await db.selectFrom('tenants').selectAll().orderBy('name').execute(),
  ];
  return JSON.stringify(tables);
}
