import type { Command } from 'commander';
import { pageOf, RunDetailView, RunView, StackView } from '#core/domain/view.ts';
import { createContext, type Context } from '../context.ts';
import { failure, usage } from '../error.ts';
import { printable } from '../printable.ts';
import { renderChanges, renderSummary } from '../render-changes.ts';
import { renderPolicies } from '../render-policies.ts';

/** Which run of a stack a command is about. */
export interface RunFlags {
  run?: string;
}

function parseRun(text: string): number {
  if (!/^[1-9][0-9]{0,8}$/.test(text)) throw usage(`--run takes the number of a run, not ${JSON.stringify(text)}`);
  return Number(text);
}

/** The run that is meant: the one named, else the one under way, else the newest for which `fits`. */
export async function runNumber(
  context: Context,
  stack: string,
  flags: RunFlags,
  fits?: (run: RunView) => boolean,
): Promise<number> {
  if (flags.run !== undefined) return parseRun(flags.run);
  const { client, path } = context;
  const { liveRun } = await client.get(path`/stacks/${stack}`, StackView);
  if (liveRun !== null) return liveRun.number;
  if (fits === undefined) throw failure(`no run of ${stack} is under way; name one with --run`);
  const page = await client.get(path`/stacks/${stack}/runs?limit=${50}`, pageOf(RunView));
  const found = page.items.find(fits);
  if (found === undefined) throw failure(`${stack} has no such run yet`);
  return found.number;
}

async function decide(word: 'approve' | 'discard', stack: string, command: Command) {
  const context = createContext(command);
  const flags = command.opts<RunFlags & { plan: string; comment?: string }>();
  const number = await runNumber(context, stack, flags);
  const body = { planDigest: flags.plan, ...(flags.comment === undefined ? {} : { comment: flags.comment }) };
  const run = await context.client.post(context.path`/stacks/${stack}/runs/${number}/${word}`, body, RunView);
  context.print(run, () => printable(`run ${run.number} of ${stack} is ${run.state}: ${run.message || flags.plan}`));
}

function renderDetail({ run, plan, approvals }: RunDetailView, color: boolean): string {
  const head = `Run ${run.number} of ${run.tenant}/${run.stack}: ${run.operation} of ${run.revision}, ${run.state}`;
  if (plan === null) return printable(`${head}: ${run.message || 'it has no plan'}`);
  const which = `${run.stack} --run ${run.number} --plan ${plan.planDigest}`;
  const next: Partial<Record<RunView['state'], string>> = {
    awaiting_approval: `plumb approve ${which}`,
    policy_failed: `plumb override ${which} --reason <why>`,
  };
  const todo = next[run.state];
  return [
    printable(head),
    '',
    renderChanges(plan.changes, { color }),
    '',
    renderSummary(run.summary ?? {}),
    ...renderPolicies(plan.policies),
    `plan ${plan.planDigest}`,
    ...unknownOf(plan),
    ...(run.signed === null ? [] : [printable(run.signed)]),
    ...run.needs.map((need) => printable(`needs a person: ${need}`)),
    ...approvals.map(({ decision, actor, comment, at }) => printable(`${decision} by ${actor} at ${at} ${comment}`)),
    ...(todo === undefined ? [] : ['', todo]),
  ].join('\n');
}

/** The limit of every plan, said where it is approved. */
function unknownOf({ changes }: NonNullable<RunDetailView['plan']>): string[] {
  const count = changes.reduce((sum, change) => sum + change.unknowns.length, 0);
  return count === 0
    ? []
    : [`${count === 1 ? '1 value is' : `${count} values are`} known only after the apply, which may stop midway there`];
}

/** What the plan of a run would change, with the digest that is approved. */
export async function showPlan(stack: string, command: Command) {
  const context = createContext(command);
  const number = await runNumber(context, stack, command.opts<RunFlags>(), (run) => run.planDigest !== null);
  const detail = await context.client.get(context.path`/stacks/${stack}/runs/${number}`, RunDetailView);
  const color = process.stdout.isTTY && context.env['NO_COLOR'] === undefined;
  context.print(detail, () => renderDetail(detail, color));
}

async function cancel(stack: string, command: Command) {
  const context = createContext(command);
  const number = await runNumber(context, stack, command.opts<RunFlags>());
  const run = await context.client.post(context.path`/stacks/${stack}/runs/${number}/cancel`, undefined, RunView);
  context.print(run, () =>
    printable(`run ${run.number} of ${stack} is ${run.state}, canceled by ${run.cancelRequestedBy ?? '?'}`),
  );
}

/** What concerns one run: its plan, the decision on it, its end. */
export function runCommands(program: Command): void {
  const run = ['--run <number>', 'default: the one under way'] as const;
  for (const word of ['approve', 'discard'] as const) {
    program
      .command(`${word} <stack>`)
      .description(`${word} exactly the plan with this digest, as plumb diff shows it`)
      .requiredOption('--plan <digest>', 'sha256:… of the plan that was looked at')
      .option(...run)
      .option('--comment <text>', 'why, for the diary')
      .action((stack: string, _options: object, command: Command) => decide(word, stack, command));
  }
  program
    .command('cancel <stack>')
    .description('stop a run; one that applies is interrupted politely first')
    .option(...run)
    .action((stack: string, _options: object, command: Command) => cancel(stack, command));
}
