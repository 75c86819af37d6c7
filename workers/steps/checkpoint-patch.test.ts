import { expect, it } from 'vitest';
import type { Checkpoint } from '#core/engine/port.ts';
import { lostMore } from './checkpoint-patch.ts';

const stack = { checkpoint: 'ours', checkpoint_resources: 10 };
const after = (resources: number, hash = 'now'): Checkpoint => ({ hash, resources, dynamic: 0, pendingOperations: [] });

function plan(ops: string[], checkpoint = 'ours') {
  return { bound: { checkpoint }, changes: ops.map((op) => ({ op })) };
}

it.each([
  ['nothing less', plan(['update']), after(10), false],
  ['more', plan(['create']), after(11), false],
  ['less by what the plan deletes', plan(['delete']), after(9), false],
  ['less by a replaced resource and its former self', plan(['replace']), after(8), false],
  ['less by more than the plan takes', plan(['replace']), after(7), true],
  ['less where the plan takes nothing', plan(['create', 'update', 'same', 'read']), after(9), true],
  ['no state at all, whatever the plan takes', plan(Array<string>(20).fill('delete')), after(0, 'absent'), true],
  ['less than ours, of a state a person accepted', plan([], 'accepted'), after(5), false],
  ['no state, of one a person accepted', plan([], 'accepted'), after(0, 'absent'), true],
  ['no state, where there was none', plan(['create'], 'absent'), after(0, 'absent'), false],
  ['less after a command by hand, which has no plan', undefined, after(1), false],
])('a cut-off apply that left %s', (_, of, now, lost) => {
  expect(lostMore(stack, { operation: 'update' }, of, now)).toBe(lost);
});

it('a destroy may leave nothing, and a first apply as well', () => {
  expect(lostMore(stack, { operation: 'destroy' }, plan(['delete']), after(0, 'absent'))).toBe(false);
  const first = { checkpoint: null, checkpoint_resources: null };
  expect(lostMore(first, { operation: 'update' }, plan(['create']), after(0, 'absent'))).toBe(false);
});
