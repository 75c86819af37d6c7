import ignore from 'ignore';
import { stalled } from '#core/domain/errors.ts';

/** Whether a path (relative, `/` as separator) is left out; ask from the root down, what is below a left-out folder is too. */
export type Ignore = (path: string, isDirectory: boolean) => boolean;

/** A file of patterns in the root of an artifact or of a folder to be pushed. */
export const IGNORE_FILE = '.sourceignore';

export const MAX_IGNORE_BYTES = 64 * 1024;
const MAX_LINES = 1_000;
/** Patterns become regular expressions that go back and forth: a handful of wildcards and a long path take seconds. */
const MAX_WILDCARDS = 3;

/**
 * Never part of a program: history, dependencies (installed by lock file, or a layer of their own), secrets, and the
 * settings of single stacks, which come from the Stack manifest. `.npmrc` often holds a token.
 */
export const DEFAULT_IGNORE = [
  '.git',
  'node_modules',
  '.pulumi',
  '.plumbline',
  '.env',
  '.env.*',
  '.npmrc',
  'Pulumi.*.yaml',
  'Pulumi.*.yml',
  '.DS_Store',
  `/${IGNORE_FILE}`,
].join('\n');

function refuse(what: string, why: string) {
  return stalled('SpecInvalid', `${what} ${why}; write fewer or simpler patterns`);
}

function checkLine(line: string, what: string): void {
  const segments = line.split('/');
  const tooMany =
    segments.filter((segment) => segment.includes('**')).length > MAX_WILDCARDS ||
    segments.some((segment) => (segment.match(/\*+/g) ?? []).length > MAX_WILDCARDS);
  if (!tooMany) return;
  throw refuse(
    what,
    `has the pattern ${JSON.stringify(line.slice(0, 80))} with more than ${MAX_WILDCARDS} * in a name or ** in a path`,
  );
}

/**
 * Reads patterns as .gitignore has them (gitignore(5)), with case. Text put behind other text takes precedence over it.
 * @param what names the text in messages: `spec.source.ignore`, `.sourceignore`
 * @throws ReconcileError stalled SpecInvalid for more than 64 KiB or 1,000 lines, or a pattern of too many wildcards
 */
export function parseIgnore(text: string, what: string): Ignore {
  if (Buffer.byteLength(text) > MAX_IGNORE_BYTES) throw refuse(what, `is larger than ${MAX_IGNORE_BYTES} bytes`);
  const lines = text.split(/\r?\n/);
  if (lines.length > MAX_LINES) throw refuse(what, `has more than ${MAX_LINES} lines`);
  for (const line of lines) checkLine(line, what);
  const rules = ignore({ ignorecase: false }).add(lines);
  return (path, isDirectory) => rules.ignores(isDirectory ? `${path}/` : path);
}
