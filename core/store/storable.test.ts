import fc from 'fast-check';
import { expect, it } from 'vitest';
import { storableText } from './storable.ts';

it.each([
  ['plain text', 'plain text'],
  ['a\0b', 'a\u{fffd}b'],
  [JSON.stringify({ a: 'x\0' }), '{"a":"x\\ufffd"}'],
  [JSON.stringify(['\ud800']), '["\\ufffd"]'],
  [JSON.stringify('\udfff'), '"\\ufffd"'],
  [JSON.stringify({ path: 'C:\\u0000' }), '{"path":"C:\\\\u0000"}'],
  [JSON.stringify(['\\\0']), '["\\\\\\ufffd"]'],
  [JSON.stringify(['\u{1f600}']), '["\u{1f600}"]'],
  ['text that says \\u0000', 'text that says \\u0000'],
])('%j is stored as %j', (text, stored) => {
  expect(storableText(text)).toBe(stored);
});

it('leaves valid JSON, whatever is in it', () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom('\\', '\0', 'u', '0', '"', '\ud800', 'd', 'a') }), (text) => {
      const back: unknown = JSON.parse(storableText(JSON.stringify([text])));
      expect(back).toEqual([text.replaceAll('\0', '\u{fffd}').toWellFormed()]);
    }),
    { numRuns: 2000 },
  );
});
