import { expect, it } from 'vitest';
import { ABSENT, parseExport, parseStateFile } from './checkpoint.ts';

const deployment = (more: object = {}) => ({
  manifest: { time: 'now' },
  resources: [{ urn: 'a' }, { urn: 'b' }],
  ...more,
});
const file = (latest: unknown) => JSON.stringify({ version: 3, checkpoint: { stack: 'organization/p/s', latest } });

it('hashes a state alike whether it is read from the backend or exported, and whenever it was saved', () => {
  const read = parseStateFile(file(deployment()));
  expect(read).toMatchObject({ resources: 2, pendingOperations: [] });
  expect(read.hash).toMatch(/^sha256:[0-9a-f]{64}$/);
  expect(parseExport(JSON.stringify({ version: 3, deployment: deployment({ manifest: { time: 'later' } }) }))).toEqual(
    read,
  );
});

it('hashes states apart that differ in a resource', () => {
  const moved = deployment({ resources: [{ urn: 'a' }, { urn: 'b', id: 'other' }] });
  expect(parseStateFile(file(moved)).hash).not.toBe(parseStateFile(file(deployment())).hash);
});

it('lists the operations an interrupted run left', () => {
  const pending_operations = [{ type: 'creating', resource: { urn: 'c', type: 't' } }];
  expect(parseStateFile(file({ pending_operations })).pendingOperations).toEqual([
    { urn: 'c', type: 't', operation: 'creating' },
  ]);
});

it.each([
  ['an empty one', { manifest: {}, secrets_providers: {} }],
  ['none', undefined],
])('calls %s absent', (_name, latest) => {
  expect(parseStateFile(file(latest))).toEqual(ABSENT);
});

it('refuses a file that is no checkpoint', () => {
  expect(() => parseStateFile('{"hello":1}')).toThrow('no Pulumi checkpoint');
});
