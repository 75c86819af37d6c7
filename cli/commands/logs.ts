import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import type { Context } from '../context.ts';
import { createContext } from '../context.ts';
import { failure } from '../error.ts';
import { printable, printableLines } from '../printable.ts';
import { parseLogEvents, type LogEvent } from '../log-events.ts';
import { runNumber, type RunFlags } from './runs.ts';

/** A connection that was cut is made anew this often without a word from the service in between. */
const MAX_RETRIES = 10;
const RETRY_MS = 1_000;

function show(context: Context, event: LogEvent): void {
  if (context.format === 'json') return context.write(JSON.stringify(event));
  if (event.type === 'output') process.stdout.write(printableLines(event.text));
  else process.stderr.write(`\n${printable(`the run is ${event.state}`)}\n`);
}

/** Prints what is there and what comes until the run is over; none of it twice, though the connection may be cut. */
async function follow(context: Context, path: string): Promise<void> {
  let last: string | undefined;
  for (let retries = 0; ; retries += 1) {
    try {
      const headers: Record<string, string> = last === undefined ? {} : { 'last-event-id': last };
      for await (const event of parseLogEvents(context.client.stream(`${path}?follow=true`, headers))) {
        retries = 0;
        show(context, event);
        if (event.type === 'end') return;
        last = event.id;
      }
    } catch (error) {
      if (retries >= MAX_RETRIES || last === undefined) throw error;
    }
    if (retries >= MAX_RETRIES) throw failure('the service ended the log again and again; try again later');
    await delay(RETRY_MS);
  }
}

async function logs(stack: string, _options: object, command: Command) {
  const context = createContext(command);
  const flags = command.opts<RunFlags & { follow?: boolean }>();
  const number = await runNumber(context, stack, flags, (run) => run.operation !== 'drift');
  const path = context.path`/stacks/${stack}/runs/${number}/log`;
  if (flags.follow === true) return await follow(context, path);
  const text = await context.client.text(path);
  context.print({ run: number, log: text }, () => printableLines(text.trimEnd()));
}

/** `plumb logs`: what the engine printed, or prints. */
export function logsCommand(program: Command): void {
  program
    .command('logs <stack>')
    .description('what the engine printed in a run')
    .option('--run <number>', 'default: the one under way')
    .option('-f, --follow', 'go on printing what comes, until the run is over')
    .action(logs);
}
