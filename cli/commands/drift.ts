import type { Command } from 'commander';
import { Type, type Static } from 'typebox';
import { type ConditionView as ConditionSchema, DriftItemView, StackView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { printable } from '../printable.ts';
import { renderDrift } from '../render-drift.ts';
import { durationMs, waitUntil } from '../wait.ts';

type ConditionView = Static<typeof ConditionSchema>;

interface DriftFlags {
  check?: boolean;
  heal?: boolean;
  exitCode?: boolean;
  timeout: string;
}

async function drift(name: string, _options: object, command: Command) {
  const context = createContext(command);
  const { client, path } = context;
  const flags = command.opts<DriftFlags>();
  const limitMs = durationMs(flags.timeout);
  if (flags.check === true) {
    await client.post(path`/stacks/${name}/drift/check`, undefined, StackView);
    const look = () => client.get(path`/stacks/${name}`, StackView);
    await waitUntil(look, (stack) => !stack.status.driftRequested, { limitMs, last: (stack) => stack.why });
  }
  const [stack, { items }] = await Promise.all([
    client.get(path`/stacks/${name}`, StackView),
    client.get(path`/stacks/${name}/drift`, Type.Object({ items: Type.Array(DriftItemView) })),
  ]);
  const drifted = stack.status.conditions.find((condition) => condition.type === 'Drifted') ?? null;
  if (flags.heal === true && items.length > 0) {
    const healing = await client.post(path`/stacks/${name}/drift/heal`, undefined, StackView);
    context.print(
      { items, drifted, stack: healing },
      () => `${renderDrift(items)}\n${printable(`asked to heal: ${healing.why}`)}`,
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
    .option('--exit-code', 'end with 1 when there is drift, or when it is not known')
    .option('--timeout <duration>', 'how long to wait for a check', '10m')
    .action(drift);
}
