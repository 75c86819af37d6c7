import { expect, it } from 'vitest';
import { EVIDENCE_TRY_MS, evidenceRetryMs } from './evidence.ts';

it('no worker takes over a try that another one is still busy with', () => {
  expect(evidenceRetryMs(1)).toBeGreaterThan(EVIDENCE_TRY_MS);
});

it('pauses grow to an hour', () => {
  expect([1, 2, 3, 20].map(evidenceRetryMs)).toEqual([90_000, 180_000, 360_000, 3_600_000]);
});
