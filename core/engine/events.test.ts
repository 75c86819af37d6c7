import { describe, expect, it } from 'vitest';
import { isComplete, newEventLog, recordEvent, type EngineEvent } from './events.ts';

const prelude: EngineEvent = { preludeEvent: { config: {} } };
const summary: EngineEvent = { summaryEvent: { resourceChanges: {} } };
const end: EngineEvent = { cancelEvent: {} };

function logOf(...events: EngineEvent[]) {
  const log = newEventLog();
  for (const event of events) recordEvent(log, event);
  return log;
}

describe('a complete stream', () => {
  it.each([
    ['nothing at all', [], 1, false],
    ['a whole preview', [prelude, summary, end], 1, true],
    ['a preview without its summary', [prelude, end], 1, false],
    ['a preview without its end', [prelude, summary], 1, false],
    ['an apply that previewed first', [prelude, summary, end, prelude, summary, end], 2, true],
    ['an apply cut in its second half', [prelude, summary, end, prelude, summary], 2, false],
    ['an apply of which only the preview came', [prelude, summary, end], 2, false],
    ['more phases than were asked for', [prelude, summary, end, prelude, summary, end], 1, false],
  ])('%s', (_name, events, phases, complete) => {
    expect(isComplete(logOf(...events), phases)).toBe(complete);
  });
});

it('keeps errors, also those before the prelude, and at most fifty', () => {
  const error: EngineEvent = { diagnosticEvent: { message: 'no', severity: 'error' } };
  const debug: EngineEvent = { diagnosticEvent: { message: 'yes', severity: 'debug' } };
  expect(logOf(error, prelude, debug, error).errors).toHaveLength(2);
  expect(logOf(...Array.from({ length: 60 }, () => error)).errors).toHaveLength(50);
});
