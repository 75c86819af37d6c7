import { ReconcileError, stalled } from '#core/domain/errors.ts';
import type { Reason } from '#core/domain/reason.ts';
import type { Attachment } from './cosign-signed.ts';

/** What somebody attached must not stop us from looking at the next; all else (a registry that is away) does. */
const OF_ONE_ATTACHMENT: ReadonlySet<Reason> = new Set([
  'SignatureInvalid',
  'SourceNotFound',
  'DigestMismatch',
  'ArtifactTooLarge',
  'ArtifactInvalid',
]);

const SHOWN_REFUSALS = 3;

/** Why one attached signature does not count. */
export function refused(why: string, cause?: unknown): ReconcileError {
  return stalled('SignatureInvalid', why, cause);
}

/** Why an attachment does not count, from an error that is about it alone. @throws the error when it is not */
export function refusalOf(error: unknown): string {
  if (error instanceof ReconcileError && error.kind === 'stalled' && OF_ONE_ATTACHMENT.has(error.reason)) {
    return error.message;
  }
  throw error;
}

/** One attachment that does not count; `mayBe`: it may be what is looked for. @throws as `refusalOf` */
export function refusedAttachment(where: string, error: unknown, mayBe: boolean): Attachment {
  const why = `${where}: ${refusalOf(error)}`;
  const tooLarge = error instanceof ReconcileError && error.reason === 'ArtifactTooLarge';
  return { type: 'refused', why, unread: mayBe && tooLarge };
}

/** Text that a stranger chose, for a message: printable, quoted and short. */
export function shown(text: string): string {
  const printable = text.replace(/\p{C}/gu, ' ');
  return JSON.stringify(printable.length > 160 ? `${printable.slice(0, 160)}…` : printable);
}

/** The first few reasons. */
export function firstFew(refusals: readonly string[]): string {
  const more = refusals.length > SHOWN_REFUSALS ? `; and ${refusals.length - SHOWN_REFUSALS} more` : '';
  return `${refusals.slice(0, SHOWN_REFUSALS).join('; ')}${more}`;
}
