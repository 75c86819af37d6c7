import { expect, it } from 'vitest';
import { pendingAnswerFlags } from './pending.ts';

const create = (urn: string) => ({ urn, type: 't', operation: 'creating' });
const clear = (urn: string) => ({ urn, answer: 'clear' as const, by: 'ann' });
const importAs = (urn: string, id: string) => ({ urn, answer: 'import' as const, id, by: 'ann' });

it.each([
  ['nothing pending', [], [], []],
  ['an answer to something no longer pending', [clear('a')], [], []],
  ['an import', [importAs('a', 'i-1')], [create('a'), create('b')], ['--import-pending-creates', 'a', '--import-pending-creates', 'i-1']],
  ['a clear of all', [clear('a')], [create('a'), { ...create('b'), operation: 'updating' }], ['--clear-pending-creates']],
  [
    'both',
    [importAs('a', 'i-1'), clear('b')],
    [create('a'), create('b')],
    ['--import-pending-creates', 'a', '--import-pending-creates', 'i-1', '--clear-pending-creates'],
  ],
])('%s', (_name, answers, pending, flags) => {
  expect(pendingAnswerFlags(answers, pending)).toEqual(flags);
});

it('never clears a create that nobody has answered', () => {
  expect(() => pendingAnswerFlags([clear('a')], [create('a'), create('b')])).toThrow('answer these as well: b');
});
