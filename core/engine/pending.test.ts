import { describe, expect, it } from 'vitest';
import type { ReconcileError } from '../domain/errors.ts';
import { checkImported, settlePending, wrongAnswers } from './pending.ts';

const create = (urn: string) => ({ type: 'creating', resource: { urn, type: 't', inputs: { a: 1 } } });
const clear = (urn: string) => ({ urn, answer: 'clear' as const, by: 'ann' });
const importAs = (urn: string, id: string) => ({ urn, answer: 'import' as const, id, by: 'ann' });

function exported(...pending_operations: object[]) {
  return JSON.stringify({ version: 3, deployment: { resources: [{ urn: 'parent' }], pending_operations } });
}

function deploymentOf(settled: { text: string } | undefined): unknown {
  const state: { deployment: unknown } = JSON.parse(settled?.text ?? '{}');
  return state.deployment;
}

describe('answers to pending creates', () => {
  it('drops a cleared one', () => {
    expect(deploymentOf(settlePending(exported(create('x')), [clear('x')]))).toEqual({
      resources: [{ urn: 'parent' }],
    });
  });

  it('makes an imported one a resource, after those it may depend on', () => {
    const settled = settlePending(exported(create('x'), create('y')), [importAs('x', 'i-1'), clear('y')]);
    expect(settled?.imported).toEqual(['x']);
    expect(deploymentOf(settled)).toEqual({
      resources: [{ urn: 'parent' }, { urn: 'x', type: 't', id: 'i-1', inputs: { a: 1 }, outputs: { a: 1 } }],
    });
  });

  it('marks what an imported replacement replaces, and drops what was deleted before', () => {
    const state = (old: object) =>
      JSON.stringify({ deployment: { resources: [old, { urn: 'child' }], pending_operations: [create('x')] } });
    const made = { urn: 'x', type: 't', id: 'i-2', inputs: { a: 1 }, outputs: { a: 1 } };
    const settle = (old: object) => deploymentOf(settlePending(state(old), [importAs('x', 'i-2')]));
    const old = { urn: 'x', id: 'i-1' };
    expect(settle(old)).toEqual({ resources: [made, { ...old, delete: true }, { urn: 'child' }] });
    expect(settle({ ...old, pendingReplacement: true })).toEqual({ resources: [made, { urn: 'child' }] });
  });

  it('imports what only its answer knows, with secrets from the one it replaces', () => {
    const resource = { urn: 'z', type: 't', inputs: { a: 1, password: '[secret]' } };
    const answer = { ...importAs('z', 'i-9'), resource };
    expect(() => settlePending(exported(), [answer])).toThrow('cannot be imported: it has a secret');
    const known = JSON.stringify({ deployment: { resources: [{ urn: 'z', inputs: { password: 'ciphertext' } }] } });
    expect(settlePending(known, [answer])?.text).toContain('"inputs":{"a":1,"password":"ciphertext"}');
    expect(settlePending(exported(), [clear('z')])).toBeUndefined();
  });

  it('is settled once, though it was cut off before the refresh', () => {
    const known = JSON.stringify({ deployment: { resources: [{ urn: 'z', id: 'i-9' }] } });
    const settled = settlePending(known, [{ ...importAs('z', 'i-9'), resource: { urn: 'z', inputs: {} } }]);
    expect(deploymentOf(settled)).toEqual({ resources: [{ urn: 'z', id: 'i-9' }] });
  });

  it.each([
    ['there is none pending', exported(), [clear('x')]],
    ['it concerns another', exported(create('x')), [clear('y')]],
    ['there is none', exported(create('x')), []],
    ['only other kinds are pending', exported({ type: 'updating', resource: { urn: 'x' } }), [clear('x')]],
  ])('changes nothing when %s', (_name, state, answers) => {
    expect(settlePending(state, answers)).toBeUndefined();
  });

  it('never drops a create that nobody has answered', () => {
    expect(() => settlePending(exported(create('x'), create('y')), [clear('x')])).toThrow('answer these as well: y');
  });
});

it('says so when an imported resource turns out not to exist, and which answer was wrong', () => {
  expect(() => checkImported(exported(), ['parent'])).not.toThrow();
  const wrong = () => checkImported(exported(), ['parent', 'x']);
  expect(wrong).toThrow('nothing exists under the id given for x');
  expect(wrong).toThrow(expect.toSatisfy((error: ReconcileError) => wrongAnswers(error).join() === 'x'));
});
