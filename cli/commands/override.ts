import type { Command } from 'commander';
import { RunView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { printable } from '../printable.ts';
import { runNumber, type RunFlags } from './runs.ts';

async function override(stack: string, command: Command) {
  const context = createContext(command);
  const flags = command.opts<RunFlags & { plan: string; reason: string }>();
  const number = await runNumber(context, stack, flags);
  const body = { planDigest: flags.plan, comment: flags.reason };
  const run = await context.client.post(context.path`/stacks/${stack}/runs/${number}/override`, body, RunView);
  context.print(run, () => printable(`run ${run.number} of ${stack} is ${run.state}: ${run.message}`));
}

/** `plumb override`: what mandatory policies say of one plan is overruled, by name and with a reason. */
export function overrideCommand(program: Command): void {
  program
    .command('override <stack>')
    .description('overrule the policy violations of exactly this plan; it then waits for its approvals')
    .requiredOption('--plan <digest>', 'sha256:… of the plan that was looked at')
    .requiredOption('--reason <text>', 'why, for the diary')
    .option('--run <number>', 'default: the one under way')
    .action((stack: string, _options: object, command: Command) => override(stack, command));
}
