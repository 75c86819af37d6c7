import { readFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { printsState } from '#core/domain/exec-command.ts';
import { isFinished } from '#core/domain/run.ts';
import { RunDetailView, RunView } from '#core/domain/view.ts';
import { createContext, type Context } from '../context.ts';
import { failure } from '../error.ts';
import { printable, printableLines } from '../printable.ts';
import { durationMs, waitUntil } from '../wait.ts';

/** Waits for the end of a run that was asked for; `each` is called at every look. @throws CliError */
export async function waitForRun(
  { client, path }: Context,
  at: { stack: string; number: number; timeout: string; each?(): Promise<void> },
): Promise<RunView> {
  const { stack, number } = at;
  return await waitUntil(
    async () => {
      const { run } = await client.get(path`/stacks/${stack}/runs/${number}`, RunDetailView);
      await at.each?.();
      return run;
    },
    (run) => isFinished(run.state),
    {
      limitMs: durationMs(at.timeout),
      last: (run) => `run ${run.number} of ${stack} is ${run.state}: ${run.message}; it goes on without you`,
    },
  );
}

/** Why a run did not come to an end of its own. */
export function runFailure({ message, reason }: RunView): Error {
  return failure(printable(`${message}${reason === null ? '' : ` [${reason}]`}`));
}

interface Flags {
  reason: string;
  input?: string;
  timeout: string;
}

async function exec(stack: string, args: string[], flags: Flags, command: Command): Promise<void> {
  const context = createContext(command);
  const { client, path } = context;
  const input = flags.input === undefined ? {} : { input: await readFile(flags.input, 'utf8') };
  const asked = await client.post(
    path`/stacks/${stack}/exec`,
    { command: args, reason: flags.reason, ...input },
    RunView,
  );
  let log = '';
  // A log only grows; what is new is shown at every look, and the last look comes after the end.
  const follow = async () => {
    const now = await client.text(path`/stacks/${stack}/runs/${asked.number}/log`);
    if (context.format === 'text') process.stdout.write(printableLines(now.slice(log.length)));
    log = now;
  };
  const run = await waitForRun(context, { stack, number: asked.number, timeout: flags.timeout, each: follow });
  // A state is no log: it may be far longer than one, and stays sealed until it is asked for.
  if (context.format === 'text' && run.state === 'applied' && printsState(args)) {
    process.stdout.write(await client.text(path`/stacks/${stack}/runs/${run.number}/state`));
  }
  if (context.format === 'json') context.print({ run, log }, () => '');
  if (run.exitCode === null) throw runFailure(run);
  process.exitCode = run.exitCode;
}

/** `plumb exec`: one command of the engine by hand, for when nothing else helps. */
export function execCommand(program: Command): void {
  program
    .command('exec <stack> <args...>')
    .description(
      'break-glass: run an allowed pulumi command under the lease, as in plumb exec shop --reason "…" -- state delete URN',
    )
    .requiredOption(
      '--reason <text>',
      'why; it is in the diary for good, and so are the arguments: put no secret in them',
    )
    .option('--input <file>', 'the state, for stack import')
    .option('--timeout <duration>', 'how long to wait for its end', '15m')
    .action((stack: string, args: string[], flags: Flags, command: Command) => exec(stack, args, flags, command));
}
