import { once } from 'node:events';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { transient, waiting } from '#core/domain/errors.ts';
import type { EngineRequest, ExecRequest } from '#core/engine/port.ts';
import type { RunView } from '#core/domain/view.ts';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';

let plumbline: TestPlumbline;
beforeAll(async () => {
  plumbline = await startTestPlumbline();
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  await plumbline.untilRun('shop', ['applied']);
});
afterAll(() => plumbline.close());

const ADDRESS = 'urn:pulumi:prod::shop::fake:index:Thing::web';
const DELETE = { command: ['state', 'delete', ADDRESS], reason: 'the bucket was removed by hand' };

interface Answer {
  status: number;
  body: RunView & { detail?: string };
}

function exec(body: object, token = plumbline.token): Promise<Answer> {
  return plumbline.api('POST', `/v1/tenants/${plumbline.tenant}/stacks/shop/exec`, body, token);
}

beforeEach(() => void (plumbline.engine.hooks.exec = undefined));

/** Asks until no plan of the command before is in the way. */
function taken(ask: () => Promise<Answer>): Promise<Answer> {
  return plumbline.until('a stack at rest', async () => {
    const answer = await ask();
    if (answer.status === 409) return undefined;
    expect(answer.status).toBe(202);
    return answer;
  });
}

async function ended(answer: Answer): Promise<RunView> {
  return plumbline.until('the end of the command', async () => {
    const { run } = await plumbline.run('shop', answer.body.number);
    return run.finishedAt === null ? undefined : run;
  });
}

describe('a command by hand', () => {
  it('is carried out with the credentials of an apply, and the next plan is made from what it left', async () => {
    const seen: [ExecRequest, EngineRequest][] = [];
    plumbline.engine.hooks.exec = async (request, engine) => {
      seen.push([request, engine]);
      delete plumbline.engine.only().state['web'];
      engine.onOutput('Resource deleted\n');
      return 0;
    };
    const run = await ended(await taken(() => exec(DELETE)));
    expect(run).toMatchObject({ operation: 'exec', state: 'applied', exitCode: 0, comment: DELETE.reason });
    expect(seen.map(([request]) => request.command)).toEqual([DELETE.command]);
    // What went missing in the state is not "regressed": a person did it. The world has it still, the plan makes it anew.
    const after = await plumbline.untilRun('shop', ['awaiting_approval', 'applied'], run.number);
    expect(after.summary).toMatchObject({ create: 1 });
    const events = (await plumbline.events('shop')).toReversed();
    expect(events.filter(({ type }) => type === 'ExecRequested' || type === 'Executed')).toMatchObject([
      { actor: expect.stringContaining('admin'), data: { command: DELETE.command, reason: DELETE.reason } },
      {
        actor: expect.stringContaining('admin'),
        data: { command: DELETE.command, reason: DELETE.reason, exitCode: 0 },
      },
    ]);
    const log = await fetch(`${plumbline.url}/v1/tenants/${plumbline.tenant}/stacks/shop/runs/${run.number}/log`, {
      headers: { authorization: `Bearer ${plumbline.token}` },
    });
    expect(await log.text()).toBe('Resource deleted\n');
  });

  it('keeps the code of one that fails, says nothing about the revision, and refreshes before the next plan', async () => {
    plumbline.engine.hooks.exec = async () => 255;
    const run = await ended(await taken(() => exec(DELETE)));
    expect(run).toMatchObject({ state: 'errored', exitCode: 255 });
    const refreshes = plumbline.engine.calls.refresh;
    await plumbline.untilRun('shop', ['planned'], run.number);
    expect(plumbline.engine.calls.refresh).toBe(refreshes + 1);
    expect((await plumbline.view('shop')).status.failures).toBe(0);
  });

  it('waits for nothing: it is refused while another run is unfinished, and carried out on a suspended stack', async () => {
    const { promise, resolve } = Promise.withResolvers<number>();
    plumbline.engine.hooks.exec = () => promise;
    const first = await taken(() => exec(DELETE));
    expect(await exec(DELETE)).toMatchObject({ status: 409, body: { detail: expect.stringContaining('(exec)') } });
    await plumbline.post('shop', 'suspend');
    resolve(0);
    await ended(first);
    await ended(await taken(() => exec({ command: ['stack', 'history'], reason: 'what happened' })));
    await plumbline.post('shop', 'resume');
  });

  it('that finds the state locked leaves everything as it is and names the holder', async () => {
    plumbline.engine.hooks.exec = async () => {
      throw waiting('StateLocked', 'the state is locked by ann@laptop', 1000);
    };
    const run = await ended(await taken(() => exec(DELETE)));
    expect(run).toMatchObject({ state: 'errored', reason: 'StateLocked', exitCode: null });
    expect(run.message).toContain('ann@laptop');
    const { status } = await plumbline.view('shop');
    expect(status.failures).toBe(0);
    expect(status.conditions.filter(({ reason }) => reason === 'StateLocked')).toEqual([]);
  });

  it('can be canceled, and what it did until then is found out', async () => {
    plumbline.engine.hooks.exec = async (_request, { signal }) => {
      await once(signal, 'abort');
      throw transient('Interrupted', 'the engine was interrupted');
    };
    const asked = await taken(() => exec(DELETE));
    await plumbline.until('the command', async () => {
      const { run } = await plumbline.run('shop', asked.body.number);
      return run.state === 'applying' ? true : undefined;
    });
    await plumbline.post('shop', `runs/${asked.body.number}/cancel`);
    const run = await ended(asked);
    expect(run).toMatchObject({ state: 'errored', exitCode: null });
    await plumbline.untilRun('shop', ['planned'], run.number);
  });

  it.each([
    [['up', '--yes'], 'not let through'],
    [['stack', 'export', '--show-secrets'], '--show-secrets'],
    [['stack', 'import'], '--input'],
  ])('is refused when it is %j', async (command, why) => {
    const answer = await exec({ command, reason: 'because' });
    expect(answer).toMatchObject({ status: 422, body: { detail: expect.stringContaining(why) } });
    expect(await exec({ command: ['stack', 'history'] })).toMatchObject({ status: 422 });
  });

  it('needs an administrator', async () => {
    expect((await exec(DELETE, await plumbline.person('ann', 'approver'))).status).toBe(403);
  });

  it('has its input sealed until the command has read it, and gone afterwards', async () => {
    let input: string | undefined;
    let kept: Buffer | undefined;
    plumbline.engine.hooks.exec = async (request) => {
      input = request.input?.toString();
      kept = (await plumbline.database.db.selectFrom('run_files').selectAll().executeTakeFirst())?.sealed;
      return 0;
    };
    await ended(
      await taken(() => exec({ command: ['stack', 'import'], reason: 'a backup', input: '{"deployment":{}}' })),
    );
    expect(input).toBe('{"deployment":{}}');
    expect(kept?.includes('deployment')).toBe(false);
    expect(await plumbline.database.db.selectFrom('run_files').selectAll().execute()).toEqual([]);
  });
});

it('a state is exported for an administrator, sealed on its way, and not for long', async () => {
  const base = `/v1/tenants/${plumbline.tenant}/stacks/shop`;
  const run = await ended(await taken(() => plumbline.api('POST', `${base}/state/export`)));
  expect(run).toMatchObject({ state: 'applied' });
  const state = `${base}/runs/${run.number}/state`;
  expect(await plumbline.api('GET', state)).toMatchObject({ status: 200, body: { web: { size: 1 } } });
  expect((await plumbline.api('GET', state, undefined, await plumbline.person('bob', 'approver'))).status).toBe(403);
  const file = await plumbline.database.db.selectFrom('run_files').selectAll().executeTakeFirstOrThrow();
  expect(file.sealed.includes('size')).toBe(false);
  await plumbline.database.db
    .updateTable('run_files')
    .set({ expires_at: new Date(0) })
    .execute();
  expect((await plumbline.api('GET', state)).status).toBe(404);
  const log = await plumbline.database.db
    .selectFrom('run_logs')
    .select('text')
    .where('run_id', '=', file.run_id)
    .execute();
  expect(log).toEqual([]);
});
