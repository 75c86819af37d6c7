import { describe, expect, it } from 'vitest';
import { checkImported, settlePending } from './pending.ts';

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

it('says so when an imported resource turns out not to exist', () => {
  expect(() => checkImported(exported(), ['parent'])).not.toThrow();
  expect(() => checkImported(exported(), ['parent', 'x'])).toThrow('nothing exists under the id given for x');
});
