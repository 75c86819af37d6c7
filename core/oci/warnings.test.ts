import { describe, expect, it } from 'vitest';
import { parseWarnings } from './warnings.ts';

describe('parseWarnings', () => {
  it.each<[string, string | undefined, string[]]>([
    ['none', undefined, []],
    ['one', '299 - "This registry will be removed soon."', ['This registry will be removed soon.']],
    ['several, joined', '299 - "a, b", 299 - "c"', ['a, b', 'c']],
    ['quoted characters', String.raw`299 - "say \"hi\" \\ bye"`, [String.raw`say "hi" \ bye`]],
    ['control characters', '299 - "a\u001b[2Jb"', ['a [2Jb']],
    ['another code and agent', '199 - "a", 299 host "b"', []],
    ['nothing in quotes', '299 - "", 299 - " "', []],
    ['text that never ends', '299 - "abc', []],
    ['more than a registry may send', `299 - "${'x'.repeat(4096)}"`, []],
    ['a long text', `299 - "${'x'.repeat(4000)}"`, ['x'.repeat(300)]],
  ])('reads %s', (_, header, texts) => {
    expect(parseWarnings(header)).toEqual(texts);
  });
});
