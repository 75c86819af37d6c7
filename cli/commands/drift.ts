import type { Command } from 'commander';
import { Type } from 'typebox';
import { DriftItemView, StackView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { printable } from '../printable.ts';
import { renderDrift } from '../render-drift.ts';
import { durationMs, waitUntil } from '../wait.ts';

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
  const { items } = await client.get(path`/stacks/${name}/drift`, Type.Object({ items: Type.Array(DriftItemView) }));
  if (flags.heal === true && items.length > 0) {
    const stack = await client.post(path`/stacks/${name}/drift/heal`, undefined, StackView);
    context.print({ items, stack }, () => `${renderDrift(items)}\n${printable(`asked to heal: ${stack.why}`)}`);
  } else {
    context.print({ items }, () => renderDrift(items));
  }
  if (flags.exitCode === true && items.length > 0) process.exitCode = 1;
}

/** `plumb drift`: the live world against what was applied last. */
export function driftCommand(program: Command): void {
  program
    .command('drift <stack>')
    .description('what the last check found')
    .option('--check', 'check now, and wait for the result')
    .option('--heal', 'repair exactly what was found, under the approval rule of the stack')
    .option('--exit-code', 'end with 1 when there is drift')
    .option('--timeout <duration>', 'how long to wait for a check', '10m')
    .action(drift);
}
