import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';

const CHECKOUT = join(import.meta.dirname, '../..');
const PAGE = 'docs/distribution-spec.md';
/** `[file](../file) “title”`, and in parentheses the row of a table of cases. */
const TEST = /\[([^\]]+)\]\(\.\.\/([^)]+)\) “([^”]+)”(?: \(([^)]+)\))?/g;

const page = await readFile(join(CHECKOUT, PAGE), 'utf8');
const named = [...page.matchAll(TEST)].map(([, shown = '', file = '', title = '', row]) => ({
  shown,
  file,
  title,
  row,
}));
const rules = page.split('\n').filter((line) => /^\| (?!Level|-)/.test(line));

/** Whether the text is the first argument of a call: a title, not a word in some other place. */
function declares(source: string, title: string): boolean {
  const quoted = [`'${title.replaceAll("'", String.raw`\'`)}'`, `"${title}"`, `\`${title}\``];
  return quoted.some((text) => {
    const parts = source.split(text);
    return parts.slice(0, -1).some((before) => /\(\s*$/.test(before));
  });
}

describe('docs/distribution-spec.md', () => {
  it.each(rules)('shows or says why not: %s', (rule) => {
    expect(rule).toMatch(/“[^”]+”|Not used/);
  });

  it.each(named)('$file has the test “$title”', async ({ shown, file, title, row }) => {
    expect(shown).toBe(file);
    const source = await readFile(join(CHECKOUT, file), 'utf8');
    expect(declares(source, title)).toBe(true);
    // A row may name several cases, or the registries of an e2e test.
    if (row !== undefined && title.includes('%')) expect(source).toContain(`'${row}'`);
  });
});
