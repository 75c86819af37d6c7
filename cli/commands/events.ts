import { setTimeout as delay } from 'node:timers/promises';
import type { Command } from 'commander';
import { EventView, pageOf } from '#core/domain/view.ts';
import { createContext, type Context } from '../context.ts';
import { usage } from '../error.ts';
import { printable } from '../printable.ts';

const POLL_MS = 1_000;
const MAX_PAGE = 200;

function renderEvent(event: EventView): string {
  const where = [event.stack, event.run === null ? null : `run ${event.run}`].filter((part) => part !== null).join(' ');
  const reason = event.reason === null ? '' : ` ${event.reason}`;
  const severity = event.severity === 'info' ? '' : ` ${event.severity.toUpperCase()}`;
  return printable(`${event.at}${severity} ${where || '-'} ${event.type}${reason} by ${event.actor}: ${event.message}`);
}

function queryOf(stack: string | undefined, more: Record<string, string>): string {
  return new URLSearchParams({ ...(stack === undefined ? {} : { stack }), ...more }).toString();
}

/** Prints what is there and then everything that comes, one a line, until Ctrl-C. None is skipped or told twice. */
async function follow(context: Context, stack: string | undefined, from: string | null): Promise<never> {
  for (let cursor = from; ;) {
    const query = queryOf(stack, { order: 'oldest', limit: String(MAX_PAGE), ...(cursor !== null && { cursor }) });
    const page = await context.client.get(`${context.path`/events`}?${query}`, pageOf(EventView));
    for (const event of page.items)
      context.write(context.format === 'json' ? JSON.stringify(event) : renderEvent(event));
    cursor = page.next;
    if (page.items.length < MAX_PAGE) await delay(POLL_MS);
  }
}

async function events(stack: string | undefined, _options: object, command: Command) {
  const context = createContext(command);
  const flags = command.opts<{ follow?: boolean; limit: string }>();
  const limit = Number(flags.limit);
  if (!Number.isInteger(limit) || limit < 1 || limit > MAX_PAGE)
    throw usage(`--limit takes a number from 1 to ${MAX_PAGE}`);
  const query = queryOf(stack, { limit: String(limit) });
  const page = await context.client.get(`${context.path`/events`}?${query}`, pageOf(EventView));
  // The cursor of the page stands at the oldest of them: from there `follow` reads forward.
  if (flags.follow === true) await follow(context, stack, page.next);
  const items = page.items.toReversed();
  context.print({ items }, () =>
    items.length === 0 ? 'Nothing has happened yet.' : items.map(renderEvent).join('\n'),
  );
}

/** `plumb events`: the diary. */
export function eventsCommand(program: Command): void {
  program
    .command('events [stack]')
    .description('what happened: who did what to which digest, when')
    .option('--follow', 'go on printing what comes, one event a line')
    .option('--limit <number>', 'how many of the newest', '50')
    .action(events);
}
