import { randomBytes, type KeyObject } from 'node:crypto';
import { join } from 'node:path';
import type { DriftItemView, EventView, RunView, StackView } from '#core/domain/view.ts';
import { createKeyPair, readSigningKey } from '#core/oci/sign-key.ts';
import { renderChanges } from '../../cli/render-changes.ts';
import { manifest, runDetail, runIn, until } from './api.ts';
import { say, step } from './print.ts';
import type { Parts } from './processes.ts';
import { moveTag, publish, sign, writeFirstVersion, writeSecondVersion } from './program.ts';

const STACK = 'postgres';
const base = `/v1/tenants/default/stacks/${STACK}`;
/** The slowest step takes 20 s on two idle cores; a shared machine may take ten times as long. */
const WAIT_MS = 5 * 60_000;

function stackManifest(parts: Parts, mode: 'manual' | 'on-destructive') {
  const spec = {
    source: {
      repository: `oci://${parts.registry}/infra/postgres`,
      ref: { tag: 'prod' },
      interval: '1h',
      onBackward: 'apply',
      verify: { cosign: { keys: ['release-key'] } },
    },
    pulumi: { stack: 'prod', secrets: { apiPassword: { secret: 'shop-api', key: 'password' } } },
    credentials: { plan: 'cluster-plan', apply: 'cluster-apply' },
    approval: { mode },
    drift: { interval: '4s', action: 'report' },
    retry: { interval: '2s' },
  };
  return manifest('Stack', STACK, spec);
}

function secret(name: string, data: Record<string, string>) {
  return manifest('Secret', name, { data });
}

async function waitForRun(parts: Parts, states: RunView['state'][], after = 0): Promise<RunView> {
  return await until(parts.api, STACK, WAIT_MS, () => runIn(parts.api, STACK, states, after));
}

async function showPlan(parts: Parts, run: RunView): Promise<string> {
  const { plan } = await runDetail(parts.api, STACK, run.number);
  if (plan === null) throw new Error(`run ${run.number} has no plan`);
  say(`run ${run.number} of ${run.revision}`);
  say(renderChanges(plan.changes, { color: process.stdout.isTTY === true }));
  say(run.signed ?? 'nothing is known about its signatures');
  for (const need of run.needs) say(`needs a person: ${need}`);
  say(`planDigest ${plan.planDigest}`);
  return plan.planDigest;
}

async function approve(parts: Parts, run: RunView, planDigest: string): Promise<RunView> {
  await parts.api.ask('POST', `${base}/runs/${run.number}/approve`, {
    planDigest,
    comment: 'looked at it in the demo',
  });
  return await waitForRun(parts, ['applied'], run.number - 1);
}

async function readerLimit(parts: Parts): Promise<number | undefined> {
  const rows = await parts.target.query<{ rolconnlimit: number }>(
    "SELECT rolconnlimit FROM pg_roles WHERE rolname = 'shop_reader'",
  );
  return rows[0]?.rolconnlimit;
}

async function expectWorld(parts: Parts, wanted: { limit: number; api: boolean }): Promise<void> {
  const roles = await parts.target.query<{ rolname: string; rolconnlimit: number }>(
    "SELECT rolname, rolconnlimit FROM pg_roles WHERE rolname LIKE 'shop%' ORDER BY 1",
  );
  const databases = await parts.target.query<{ datname: string }>(
    "SELECT datname FROM pg_database WHERE datname = 'shop'",
  );
  say(
    `roles: ${roles.map((role) => `${role.rolname} (limit ${role.rolconnlimit})`).join(', ')}; databases: ${databases.map((row) => row.datname).join(', ')}`,
  );
  const api = roles.some((role) => role.rolname === 'shop_api');
  const limit = roles.find((role) => role.rolname === 'shop_reader')?.rolconnlimit;
  if (api !== wanted.api || limit !== wanted.limit || databases.length !== 1) {
    throw new Error(
      `the cluster is not as wanted: expected shop_reader with limit ${wanted.limit} and shop_api ${wanted.api ? 'present' : 'gone'}`,
    );
  }
}

/** The key of whoever releases; only its public half goes to Plumbline. */
interface ReleaseKey {
  key: KeyObject;
  publicKey: string;
}

async function makeReleaseKey(): Promise<ReleaseKey> {
  const { privateKey, publicKey } = await createKeyPair();
  return { key: await readSigningKey(privateKey), publicKey };
}

async function register(parts: Parts, release: ReleaseKey): Promise<void> {
  await parts.api.ask('POST', '/v1/apply', {
    manifests: [
      secret('cluster-plan', parts.target.plan),
      secret('cluster-apply', parts.target.apply),
      secret('release-key', { 'release.pub': release.publicKey }),
      secret('shop-api', { password: randomBytes(18).toString('base64url') }),
      stackManifest(parts, 'manual'),
    ],
  });
  say('Secrets cluster-plan (reads only), cluster-apply, release-key and shop-api');
  say('Stack postgres: runs only what release-key signed, approval mode manual');
}

async function firstVersion(parts: Parts, dir: string, release: ReleaseKey) {
  const digest = await step('pack and push version 1; the registry notifies Plumbline', async () => {
    const pushed = await publish(parts.registry, await writeFirstVersion(join(dir, 'v1')), 'prod');
    say(`oci://${parts.registry}/infra/postgres:prod@${pushed}`);
    return pushed;
  });
  await step('nobody signed it, so nothing of it is downloaded, let alone run', async () => {
    const waiting = await until(parts.api, STACK, WAIT_MS, async () => {
      const { status } = await parts.api.ask<StackView>('GET', base);
      return status.conditions.find(({ reason }) => reason === 'SignatureMissing');
    });
    const { items } = await parts.api.ask<{ items: RunView[] }>('GET', `${base}/runs`);
    if (items.length > 0) throw new Error('a run was made of an artifact that nobody signed');
    say(waiting.message);
  });
  await step('sign it; the registry tells, and Plumbline looks again', () => sign(parts.registry, digest, release.key));
  const run = await step('the preview of version 1 waits for a person', () => waitForRun(parts, ['awaiting_approval']));
  const planDigest = await showPlan(parts, run);
  const applied = await step('approve it by its planDigest, and wait for applied', () =>
    approve(parts, run, planDigest),
  );
  await step('a plain SQL client sees the objects', () => expectWorld(parts, { limit: 5, api: true }));
  return { digest, planDigest, run: applied };
}

async function secondVersion(
  parts: Parts,
  dir: string,
  release: ReleaseKey,
  first: { planDigest: string; run: RunView },
): Promise<RunView> {
  const settled = await step('the manifest now says on-destructive; nothing has to change', async () => {
    await parts.api.ask('POST', '/v1/apply', { manifests: [stackManifest(parts, 'on-destructive')] });
    return await waitForRun(parts, ['planned'], first.run.number);
  });
  await step('push and sign version 2: one role changes, another goes', async () => {
    const digest = await publish(parts.registry, await writeSecondVersion(join(dir, 'v2')), 'prod');
    await sign(parts.registry, digest, release.key);
    say(digest);
  });
  const run = await step('it takes something away, so it waits', () =>
    waitForRun(parts, ['awaiting_approval'], settled.number),
  );
  const planDigest = await showPlan(parts, run);
  await step('approving the first plan instead is refused', async () => {
    const answer = await parts.api.request<{ detail?: string }>('POST', `${base}/runs/${run.number}/approve`, {
      planDigest: first.planDigest,
    });
    if (answer.status !== 409) throw new Error(`expected 409, got ${answer.status}`);
    say(`409: ${answer.body.detail}`);
  });
  const applied = await step('approve the right one, and wait for applied', () => approve(parts, run, planDigest));
  await expectWorld(parts, { limit: 8, api: false });
  return applied;
}

async function drift(parts: Parts, after: RunView): Promise<RunView> {
  await step("somebody changes a role behind Plumbline's back", async () => {
    await parts.target.query('ALTER ROLE shop_reader CONNECTION LIMIT 99');
    say('ALTER ROLE shop_reader CONNECTION LIMIT 99');
  });
  await step('the scheduled drift check reports it', async () => {
    const items = await until(parts.api, STACK, WAIT_MS, async () => {
      const page = await parts.api.ask<{ items: DriftItemView[] }>('GET', `${base}/drift`);
      return page.items.length > 0 ? page.items : undefined;
    });
    for (const item of items)
      say(
        `${item.urn.split('::').at(-1)}.${item.path}: ${JSON.stringify(item.before)} → ${JSON.stringify(item.after)} (${item.kind})`,
      );
    if (!items.some((item) => item.path === 'connectionLimit' && item.before === 8 && item.after === 99)) {
      throw new Error('the report does not name connectionLimit 8 → 99');
    }
  });
  return await step('heal repairs exactly what was reported', async () => {
    await parts.api.ask('POST', `${base}/drift/heal`);
    const run = await waitForRun(parts, ['applied'], after.number);
    say(`run ${run.number} (${run.trigger}): shop_reader has limit ${await readerLimit(parts)} again`);
    await expectWorld(parts, { limit: 8, api: false });
    return run;
  });
}

async function goBack(parts: Parts, digest: string, after: RunView): Promise<void> {
  await step('the tag is moved back to version 1 in the registry', () => moveTag(parts.registry, digest, 'prod'));
  await step('the move is recorded, and onBackward: apply rolls back by a planned run', async () => {
    const run = await waitForRun(parts, ['applied'], after.number);
    const { items } = await parts.api.ask<{ items: EventView[] }>(
      'GET',
      `/v1/tenants/default/events?stack=${STACK}&limit=500`,
    );
    const moved = items.findLast((event) => event.type === 'TagMoved');
    if (moved === undefined || run.operation !== 'rollback')
      throw new Error(`expected a TagMoved event and a rollback, got ${run.operation}`);
    say(moved.message);
    say(`run ${run.number} (${run.operation}): ${run.message}`);
    await expectWorld(parts, { limit: 5, api: true });
  });
}

const AUDITED = new Set([
  'StackApplied',
  'VerificationFailed',
  'SourceVerified',
  'TagMoved',
  'RevisionFound',
  'ApprovalNeeded',
  'PlanReady',
  'NothingToDo',
  'PlanApproved',
  'PlanDiscarded',
  'ApplyStarted',
  'Applied',
  'DriftDetected',
  'HealRequested',
  'DriftHealed',
  'DriftGone',
  'RolledBack',
  'RunFailed',
  'PlanStale',
]);

async function auditTrail(parts: Parts): Promise<void> {
  const { items } = await parts.api.ask<{ items: EventView[] }>(
    'GET',
    `/v1/tenants/default/events?stack=${STACK}&limit=500`,
  );
  const short = (value: unknown) => (typeof value === 'string' ? value.replace(/^(sha256:.{12}).*/, '$1…') : '');
  for (const event of items.toReversed()) {
    if (!AUDITED.has(event.type)) continue;
    const { planDigest } = event.data;
    const digest = event.data['digest'] ?? event.data['to'];
    say(
      `${event.at.slice(11, 19)}  ${event.type.padEnd(18)} ${event.actor.padEnd(12)} ${short(digest).padEnd(20)} ${planDigest ? `plan ${short(planDigest)}` : ''}`,
    );
  }
}

/** The main job from start to end. Throws at the first thing that is not as promised. */
export async function tell(parts: Parts, dir: string): Promise<void> {
  const release = await makeReleaseKey();
  await step('register the Stack and its secrets', () => register(parts, release));
  const first = await firstVersion(parts, dir, release);
  const second = await secondVersion(parts, dir, release, first);
  const healed = await drift(parts, second);
  await goBack(parts, first.digest, healed);
  await step('the audit trail: when, what, who, which digest, which plan', () => auditTrail(parts));
  const view = await parts.api.ask<StackView>('GET', base);
  say(view.why);
}
