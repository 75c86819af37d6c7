import type { Command } from 'commander';
import { Type, type Static } from 'typebox';
import { type ConditionView as ConditionSchema, DriftItemView, pageOf, RunView, StackView } from '#core/domain/view.ts';
import { createContext, type Context } from '../context.ts';
import { failure } from '../error.ts';
import { printable } from '../printable.ts';
import { renderDrift } from '../render-drift.ts';
import { durationMs, waitUntil } from '../wait.ts';

type ConditionView = Static<typeof ConditionSchema>;

interface DriftFlags {
  check?: boolean;
  heal?: boolean;
  acceptMissing?: string;
  exitCode?: boolean;
  timeout: string;
}

/** Asks for a check and waits for a run of its own: one that was under way already may have looked too early. */
async function check({ client, path }: Context, name: string, limitMs: number): Promise<void> {
  const stack = await client.get(path`/stacks/${name}`, StackView);
  if (stack.status.applied === null) throw failure(`nothing of ${name} is applied yet, so nothing can have drifted`);
  if (stack.spec.suspend === true) throw failure(`${name} is suspended: resume it to have it checked`);
  const look = () => client.get(path`/stacks/${name}/runs?limit=${20}`, pageOf(RunView));
  const newest = (await look()).items[0]?.number ?? 0;
  await client.post(path`/stacks/${name}/drift/check`, undefined, StackView);
  await waitUntil(look, ({ items }) => items.some((run) => run.number > newest && isChecked(run)), {
    limitMs,
    last: ({ items }) => {
      const run = items.find((item) => item.operation === 'drift' && item.number > newest);
      return run === undefined ? 'no worker has begun the check' : `run ${run.number} is ${run.state}`;
    },
  });
}

/** A result that was thrown away is followed by another check. */
function isChecked(run: RunView): boolean {
  return run.operation === 'drift' && run.finishedAt !== null && run.reason !== 'DriftDiscarded';
}

/** Only what a check reported can be accepted, and the service says so where it did not. */
async function acceptMissing({ client, path, print }: Context, name: string, urn: string): Promise<void> {
  const stack = await client.post(path`/stacks/${name}/drift/accept`, { urn }, StackView);
  print({ stack }, () => printable(`${urn} may leave the state: ${stack.why}`));
}

async function drift(name: string, _options: object, command: Command) {
  const context = createContext(command);
  const { client, path } = context;
  const flags = command.opts<DriftFlags>();
  const limitMs = durationMs(flags.timeout);
  if (flags.check === true) await check(context, name, limitMs);
  if (flags.acceptMissing !== undefined) return await acceptMissing(context, name, flags.acceptMissing);
  const [stack, { items }] = await Promise.all([
    client.get(path`/stacks/${name}`, StackView),
    client.get(path`/stacks/${name}/drift`, Type.Object({ items: Type.Array(DriftItemView) })),
  ]);
  const drifted = stack.status.conditions.find((condition) => condition.type === 'Drifted') ?? null;
  if (flags.heal === true && items.length > 0) {
    const healing = await client.post(path`/stacks/${name}/drift/heal`, undefined, StackView);
    context.print(
      { items, drifted, stack: healing },
      () =>
        `${renderDrift(items)}\n${printable(`a heal is asked for; see \`plumb diff ${name}\`; now: ${healing.why}`)}`,
    );
  } else {
    context.print({ items, drifted }, () => renderResult(items, drifted));
  }
  // Not knowing is no reason to go on either.
  if (flags.exitCode === true && drifted?.status !== 'False') process.exitCode = 1;
}

function renderResult(items: DriftItemView[], drifted: ConditionView | null): string {
  if (drifted === null) return 'Not checked yet: plumb drift --check does so now.';
  const isUnknown = drifted.status === 'Unknown' || (drifted.status === 'True' && items.length === 0);
  const said = isUnknown ? [printable(`${drifted.reason}: ${drifted.message}`)] : [];
  return [...said, ...(isUnknown && items.length === 0 ? [] : [renderDrift(items)])].join('\n');
}

/** `plumb drift`: the live world against what was applied last. */
export function driftCommand(program: Command): void {
  program
    .command('drift <stack>')
    .description('what the last check found')
    .option('--check', 'check now, and wait for the result')
    .option('--heal', 'repair exactly what was found, under the approval rule of the stack')
    .option('--accept-missing <urn>', 'let a resource that the last check reported as missing leave the state')
    .option('--exit-code', 'end with 1 when there is drift, or when it is not known')
    .option('--timeout <duration>', 'how long to wait for a check', '10m')
    .action(drift);
}
