import { expect, it } from 'vitest';
import { ownPidNamespace } from '#core/engine/namespace.ts';
import { isProvedDead } from './death-proof.ts';

const here = { bootId: 'boot-1', pidNamespace: '4026531836' };
const lease = { boot_id: 'boot-1', worker_pidns: '4026531836', run_pidns: '4026532999' };
const empty = async () => true;
const full = async () => false;

it('an empty namespace, seen from where its worker lived, on the same boot, is proof', async () => {
  expect(await isProvedDead(here, lease, empty)).toBe(true);
});

it.each([
  ['something lives in it still', here, lease, full],
  ['it is of another machine, or of a boot before', here, { ...lease, boot_id: 'boot-2' }, empty],
  ['its worker lived in another container', here, { ...lease, worker_pidns: '4026530001' }, empty],
  ['the run had no namespace', here, { ...lease, run_pidns: 'none' }, empty],
  ['no run is on record', here, { ...lease, run_pidns: null }, empty],
  ['this machine does not know its boot', { ...here, bootId: 'unknown' }, { ...lease, boot_id: 'unknown' }, empty],
])('nothing is proved where %s', async (_name, identity, traces, isEmpty) => {
  expect(await isProvedDead(identity, traces, isEmpty)).toBe(false);
});

it.runIf(process.platform === 'linux')('this very process proves that its namespace is not empty', async () => {
  const own = (await ownPidNamespace()) ?? '';
  expect(await isProvedDead(here, { ...lease, run_pidns: own })).toBe(false);
});
