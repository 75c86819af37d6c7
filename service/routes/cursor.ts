import { Problem } from '../problem.ts';

/** Makes a cursor of where a page ended; opaque to clients, so that it may change. */
export function encodeCursor(position: string): string {
  return Buffer.from(position).toString('base64url');
}

/** Reads a cursor back, checked by a pattern. @throws Problem(malformed) */
export function decodeCursor(cursor: string | undefined, pattern: RegExp): string | undefined {
  if (cursor === undefined) return undefined;
  const position = Buffer.from(cursor, 'base64url').toString('utf8');
  if (pattern.test(position)) return position;
  throw new Problem('malformed', 'the cursor is not one this list gave; start again without it');
}

/** Cuts a list that was read with one item too many into a page. */
export function pageOf<T, V>(rows: T[], limit: number, view: (row: T) => V, position: (row: T) => string) {
  const items = rows.slice(0, limit);
  const last = rows.length > limit ? items.at(-1) : undefined;
  return { items: items.map(view), next: last === undefined ? null : encodeCursor(position(last)) };
}
