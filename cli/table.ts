import { printable } from './printable.ts';

/** Columns as wide as their widest cell, two spaces between; nothing but a sentence where there are no rows. */
export function renderTable(head: readonly string[], rows: readonly (readonly string[])[], empty: string): string {
  if (rows.length === 0) return empty;
  const cells = [head, ...rows.map((row) => row.map(printable))];
  const widths = head.map((_, column) => Math.max(...cells.map((row) => row[column]?.length ?? 0)));
  return cells
    .map((row) =>
      row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** How long ago, in the largest fitting unit: 42s, 17m, 5h, 3d. */
export function age(since: string, now: Date): string {
  const seconds = Math.max(0, Math.round((now.getTime() - Date.parse(since)) / 1000));
  if (seconds < 120) return `${seconds}s`;
  if (seconds < 2 * 3600) return `${Math.floor(seconds / 60)}m`;
  if (seconds < 2 * 86_400) return `${Math.floor(seconds / 3600)}h`;
  return `${Math.floor(seconds / 86_400)}d`;
}

/** Enough of a digest to tell two apart. */
export function shortDigest(digest: string): string {
  return digest.replace(/^(sha\d+:)?([a-f0-9]{12})[a-f0-9]*$/, '$2');
}

/** `tag@sha256:…` with the digest cut. */
export function shortRevision(revision: string): string {
  const at = revision.lastIndexOf('@');
  return at === -1 ? shortDigest(revision) : `${revision.slice(0, at)}@${shortDigest(revision.slice(at + 1))}`;
}
