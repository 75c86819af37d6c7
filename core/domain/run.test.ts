import { expect, it } from 'vitest';
import { canMove, isFinished, RUN_STATES, TRANSITIONS } from './run.ts';

it('every run can come to an end from every state', () => {
  for (const start of RUN_STATES) {
    const reached = new Set<string>([start]);
    const open: string[] = [start];
    for (let state = open.pop(); state !== undefined; state = open.pop()) {
      for (const next of Object.entries(TRANSITIONS).find(([from]) => from === state)?.[1] ?? []) {
        if (!reached.has(next)) open.push(next);
        reached.add(next);
      }
    }
    expect(
      RUN_STATES.some((state) => reached.has(state) && isFinished(state)),
      start,
    ).toBe(true);
  }
});

it('an apply is never superseded or canceled, only interrupted', () => {
  expect(canMove('applying', 'superseded')).toBe(false);
  expect(canMove('applying', 'canceled')).toBe(false);
  expect(canMove('applying', 'interrupting')).toBe(true);
});

it('nothing is applied without passing through approved', () => {
  const before = RUN_STATES.filter((state) => canMove(state, 'applying'));
  expect(before).toEqual(['approved']);
});
