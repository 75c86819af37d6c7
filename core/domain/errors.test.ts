import { expect, it } from 'vitest';
import { asReconcileError, stalled } from './errors.ts';

it.each([
  ['lines of its own', 'first\n\tsecond', 'first\n\tsecond'],
  ['what moves the cursor or turns text round', 'a\u001b[2Jb\rc\u202ed', 'a [2Jb c d'],
])('a message keeps %s as a terminal may show it', (_, said, shown) => {
  expect(stalled('ArtifactInvalid', said).message).toBe(shown);
});

it.each([
  ['ours', stalled('ArtifactInvalid', `x is no manifest: ${'y'.repeat(4_000_000)}`)],
  ['foreign', asReconcileError(new Error('z'.repeat(4_000_000)))],
])('a message holds no more than a person reads, whatever a registry wrote: %s', (_, error) => {
  expect(error.message).toMatch(/^.{3900,4000}…$/);
});
