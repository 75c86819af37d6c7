import type { Command } from 'commander';
import { PendingView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { renderPending } from '../render-pending.ts';

type Answer = { urn: string; answer: 'clear' } | { urn: string; answer: 'import'; id: string };

function answerOf(word: string | undefined, urn: string | undefined, id: string | undefined): Answer | undefined {
  if (word === undefined) return undefined;
  if (urn === undefined) throw usage(`which operation? plumb pending <stack> ${word} <urn>`);
  if (word === 'clear' && id === undefined) return { urn, answer: 'clear' };
  if (word === 'import' && id !== undefined) return { urn, answer: 'import', id };
  throw usage('write plumb pending <stack> import <urn> <id>, or plumb pending <stack> clear <urn>');
}

/** `plumb pending`: what an interrupted run left, which only a person can answer. */
export function pendingCommand(program: Command): void {
  program
    .command('pending <stack> [answer] [urn] [id]')
    .description('list interrupted operations; import <urn> <id> says one was made, clear <urn> that it was not')
    .action(async (stack: string, word?: string, urn?: string, id?: string, _options?: object, command?: Command) => {
      if (command === undefined) return;
      const { client, path, print } = createContext(command);
      const answer = answerOf(word, urn, id);
      const pending =
        answer === undefined
          ? await client.get(path`/stacks/${stack}/pending`, PendingView)
          : await client.post(path`/stacks/${stack}/pending`, answer, PendingView);
      print(pending, () => renderPending(pending));
    });
}
