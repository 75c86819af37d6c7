import { stalled } from '../domain/errors.ts';
import type { PendingAnswer, PendingOperation } from '../store/schema.ts';

/** Only a create may have left something behind that the state does not know; a refresh settles the other kinds by itself. */
const CREATING = 'creating';

/**
 * Flags of `pulumi refresh` for a person's answers. The engine can import by URN, but only clear all that is left; so a
 * clear is given only when every pending create has an answer.
 * @throws ReconcileError stalled(PendingOperations) naming the creates that have none.
 */
export function pendingAnswerFlags(answers: PendingAnswer[], pending: PendingOperation[]): string[] {
  const creates = new Set(pending.filter(({ operation }) => operation === CREATING).map(({ urn }) => urn));
  const relevant = answers.filter(({ urn }) => creates.has(urn));
  const answered = new Set(relevant.map(({ urn }) => urn));
  const open = [...creates].filter((urn) => !answered.has(urn));
  const imports = relevant.flatMap((answer) =>
    answer.answer === 'import' ? ['--import-pending-creates', answer.urn, '--import-pending-creates', answer.id] : [],
  );
  if (!relevant.some(({ answer }) => answer === 'clear')) return imports;
  if (open.length > 0) {
    throw stalled('PendingOperations', `a clear drops every pending create; answer these as well: ${open.join(', ')}`);
  }
  return [...imports, '--clear-pending-creates'];
}
