import { describe, expect, it } from 'vitest';
import { newEventLog, recordEvent, type EngineEvent } from './events.ts';
import { classifyFailure, type EngineOperation } from './failures.ts';

const prelude: EngineEvent = { preludeEvent: {} };

function failed(operation: EngineOperation, text: string, events: EngineEvent[] = []) {
  const log = newEventLog();
  for (const event of events) recordEvent(log, event);
  const scrub = (said: string) => said.replaceAll('hunter2', '[secret]');
  return classifyFailure({ operation, code: 1, text, log, scrub, programDir: '/runs/1/program' });
}

const error = (message: string, urn?: string): EngineEvent => ({
  diagnosticEvent: { message, severity: 'error', ...(urn === undefined ? {} : { urn }) },
});

describe('what the engine says and what it means', () => {
  it.each([
    ['error: the stack is currently locked by 1 lock(s).', 'transient', 'StateLocked'],
    ['error: getting secrets manager: incorrect passphrase', 'stalled', 'StateMovedOutside'],
    [
      'error: getting stack configuration: get stack secrets manager: incorrect passphrase',
      'stalled',
      'StateMovedOutside',
    ],
    [
      'error: get stack secrets manager: secrets (code=Unknown): operation error KMS: Decrypt',
      'transient',
      'SecretsProviderFailed',
    ],
    ['error: constructing secrets manager of type "cloud": permission denied', 'transient', 'SecretsProviderFailed'],
    ["error: no stack named 'prod' found", 'stalled', 'StateRegressed'],
    [
      "error: no resource plugin 'pulumi-resource-aws' found in the workspace at version v6",
      'stalled',
      'PluginUnavailable',
    ],
    ['error: failed to load language plugin go: could not', 'stalled', 'ProgramInvalid'],
    ['error: pq: password authentication failed for user "state"', 'transient', 'BackendUnreachable'],
    [
      'error: unable to open state backend: dial tcp 127.0.0.1:1: connect: connection refused',
      'transient',
      'BackendUnreachable',
    ],
    ['error: failed to load checkpoint: place 1: unexpected end of JSON input', 'stalled', 'StateInvalid'],
    ['error: read ".pulumi/meta.yaml": blob (key "x") (code=PermissionDenied): GET', 'transient', 'BackendUnreachable'],
    ['error: Unauthorized: No credentials provided or are invalid.', 'transient', 'BackendUnreachable'],
    ['error: something new', 'transient', 'PreviewFailed'],
  ])('%s', (text, kind, reason) => {
    expect(failed('preview', text)).toMatchObject({ kind, reason });
  });

  it.each([
    ['error: failed to run policy: rpc error: policy pack /p: no answer within 120 s', 'transient'],
    ['error: failed to analyze resources: exit', 'transient'],
    ['error: policy pack "/p" failed to start: could not read plugin [/p]: exit status 3', 'stalled'],
    ['error: validating policy config', 'stalled'],
    ['error: failed to load Pulumi policy project located at "/p": no runtime', 'stalled'],
  ])('%s, which means a pack only where one runs', (text, kind) => {
    expect(failed('preview', text, [{ policyLoadEvent: {} }])).toMatchObject({ kind, reason: 'PolicyPackFailed' });
    expect(failed('preview', text)).toMatchObject({ reason: 'PreviewFailed' });
  });

  it('does not take a provider of databases for the backend of the state', () => {
    const events = [prelude, error('pq: password authentication failed for user "app"')];
    expect(failed('apply', '', events)).toMatchObject({ reason: 'ApplyFailed' });
  });

  it.each([
    ['preview', 'PreviewFailed'],
    ['apply', 'ApplyFailed'],
    ['refresh', 'RefreshFailed'],
    ['drift', 'DriftCheckFailed'],
    ['state', 'BackendUnreachable'],
  ] as const)('an unknown failure of %s is %s', (operation, reason) => {
    expect(failed(operation, 'error: boom').reason).toBe(reason);
  });
});

const unseen = error('expected resource operations for urn:y but none were seen');

it('a failed resource that keeps the engine from others is no violation of the plan', () => {
  const events = [prelude, prelude, error('connection reset', 'urn:pulumi:s::p::t::x'), unseen];
  expect(failed('apply', '', events)).toMatchObject({ kind: 'transient', reason: 'ApplyFailed' });
});

describe('a plan that is violated', () => {
  it('stops midway at a resource that never came', () => {
    expect(failed('apply', '', [prelude, prelude, unseen])).toMatchObject({ reason: 'PlanExceeded' });
  });

  const violation = error('resource urn:x violates plan: properties changed: +-[text]');

  it.each([
    'create is not allowed by the plan: no steps were expected for this resource',
    'delete is not allowed by the plan: this resource is constrained to same',
    'update is not allowed by the plan: no more steps were expected for this resource',
    'Expected a new resource plan for urn:x',
    'resource plan goal type (a) does not match program goal type (b)',
  ])('is one in the words %j too, and names the resource', (words) => {
    const step = error(words, 'urn:pulumi:s::p::a:b:C::inside');
    expect(failed('apply', '', [prelude, step])).toMatchObject({ reason: 'PlanStale' });
    expect(failed('apply', '', [prelude, prelude, step])).toMatchObject({
      reason: 'PlanExceeded',
      message: expect.stringContaining('inside: '),
    });
  });

  it('changed nothing when found in the preview phase', () => {
    expect(failed('apply', '', [prelude, violation])).toMatchObject({ reason: 'PlanStale' });
  });

  it('stopped the apply midway when found later', () => {
    expect(failed('apply', '', [prelude, prelude, violation])).toMatchObject({
      kind: 'stalled',
      reason: 'PlanExceeded',
    });
  });
});

describe('the message', () => {
  it('is the first diagnostic that says why, with the resource it belongs to', () => {
    const events = [prelude, error('preview failed'), error('role must not be empty', 'urn:pulumi:p::s::a:b:C::admin')];
    expect(failed('preview', 'error: preview failed', events).message).toBe('admin: role must not be empty');
  });

  it('shows the program frames of a stack, relative, and no foreign ones', () => {
    const stack =
      'Error: no\n    at file:///runs/1/program/index.ts:8:34\n    at run (/x/node_modules/a.js:1:1)\n    at node:internal/loader:1:2';
    expect(failed('preview', '', [prelude, error(stack)]).message).toBe('Error: no\n    at index.ts:8:34');
  });

  it('holds no secret', () => {
    expect(failed('preview', '', [prelude, error('cannot log in with hunter2')]).message).toBe(
      'cannot log in with [secret]',
    );
  });

  it('falls back to the end of the output, and to the exit code', () => {
    expect(failed('preview', 'one\n\ntwo\n').message).toBe('one\ntwo');
    expect(failed('preview', '').message).toContain('code 1');
  });
});
