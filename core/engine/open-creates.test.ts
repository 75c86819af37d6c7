import { expect, it } from 'vitest';
import { newEventLog, type EngineEvent, type EventLog } from './events.ts';
import { unansweredCreate } from './open-creates.ts';

const urn = 'urn:pulumi:prod::shop::aws:s3:Bucket::logs';
const made = { urn, type: 'aws:s3:Bucket', id: '', parent: 'urn:stack', provider: 'urn:aws::id', inputs: { a: 1 } };

function failing(op: string): EngineEvent {
  return { resOpFailedEvent: { metadata: { op, urn, type: made.type, old: null, new: made }, status: 0 } };
}

function saying(message: string, about = urn): EventLog {
  return { ...newEventLog(), errors: [{ urn: about, message, severity: 'error' }] };
}

it.each([
  ['create', 'error reading from server: EOF\n'],
  ['create-replacement', 'connection error: desc = "transport: Error while dialing: connection refused"'],
  ['create', 'transport is closing'],
])('a %s whose provider was gone (%s) may have made something', (op, message) => {
  expect(unansweredCreate(failing(op), saying(message))).toEqual({
    urn,
    type: 'aws:s3:Bucket',
    operation: 'creating',
    resource: { ...made, id: undefined, custom: true, outputs: {} },
  });
});

it.each([
  ['a provider that answered', failing('create'), saying('creating Bucket: AccessDenied')],
  ['a provider that reports a lost connection of its own', failing('create'), saying('Post https://x: EOF')],
  ['the error of another resource', failing('create'), saying('transport is closing', 'urn:other')],
  ['an update, which a refresh settles', failing('update'), saying('transport is closing')],
  ['another event', {}, saying('transport is closing')],
])('is told from %s', (_name, event, log) => {
  expect(unansweredCreate(event, log)).toBeUndefined();
});
