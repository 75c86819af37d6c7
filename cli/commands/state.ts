import { writeFile } from 'node:fs/promises';
import type { Command } from 'commander';
import { RunView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { runFailure, waitForRun } from './exec.ts';

interface Flags {
  out?: string;
  timeout: string;
}

async function exportState(stack: string, flags: Flags, command: Command): Promise<void> {
  const context = createContext(command);
  const { client, path } = context;
  const asked = await client.post(path`/stacks/${stack}/state/export`, undefined, RunView);
  const run = await waitForRun(context, { stack, number: asked.number, timeout: flags.timeout });
  if (run.state !== 'applied') throw runFailure(run);
  const text = await client.text(path`/stacks/${stack}/runs/${run.number}/state`);
  if (flags.out === undefined) {
    process.stdout.write(text);
    return;
  }
  // It is what opens everything, but for the key: for its owner only, and never over something else.
  await writeFile(flags.out, text, { mode: 0o600, flag: 'wx' });
  process.stderr.write(`the state of ${stack} is in ${flags.out}\n`);
}

/** `plumb state export`: the state as Pulumi prints it, its secrets encrypted. */
export function stateCommand(program: Command): void {
  program
    .command('state')
    .description('the state of a stack')
    .command('export <stack>')
    .description('print the state; its secrets stay encrypted')
    .option('--out <file>', 'write it to a new file that only you can read')
    .option('--timeout <duration>', 'how long to wait for a worker', '10m')
    .action((stack: string, flags: Flags, command: Command) => exportState(stack, flags, command));
}
