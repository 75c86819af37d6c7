import type { PendingView } from '#core/domain/view.ts';
import { printable } from './printable.ts';

/** Each interrupted operation with the answer it got, or the two answers it can get. */
export function renderPending({ operations, answers }: PendingView): string {
  if (operations.length === 0) return 'Nothing is pending.';
  return operations
    .map(({ urn, type, operation }) => {
      const answer = answers.find((given) => given.urn === urn);
      const said =
        answer === undefined
          ? 'unanswered: import it by its id if it was made, clear it if it was not'
          : `${answer.answer}${answer.id === undefined ? '' : ` ${answer.id}`} by ${answer.by}`;
      return printable(`  ${operation}  ${urn} (${type})  ${said}`);
    })
    .join('\n');
}
