import { CLOUD_STEPS, type CloudStep } from './cloud.ts';
import { RUN_VICTIMS, type Victim } from './victims.ts';

/** Where in a run's life a kill falls: in a request to the cloud, before or after its effect, or anywhere in an engine operation. */
export type Moment = `${CloudStep}:${'before' | 'after'}` | 'preview' | 'up' | 'refresh' | 'stack';

export interface Kill {
  victim: Victim;
  moment: Moment;
}

/** A small seeded generator (mulberry32), so that a soak can be played again. */
export function seeded(seed: number): () => number {
  let state = seed;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}

const CLOUD_MOMENTS = CLOUD_STEPS.flatMap((step): Moment[] => [`${step}:before`, `${step}:after`]);

/** The program has ended when deletes begin, and no refresh starts it. */
function canDie(victim: Victim, moment: Moment): boolean {
  return victim !== 'program' || !/^(?:delete|read|refresh|stack)/.test(moment);
}

function shuffled<T>(items: readonly T[], random: () => number): T[] {
  return items
    .map((item) => ({ item, at: random() }))
    .toSorted((a, b) => a.at - b.at)
    .map(({ item }) => item);
}

/** Every victim of a run at every step, and the servers around it at a few; shuffled anew each time all have had their turn. */
export function killPlan(count: number, random: () => number): Kill[] {
  const moments: Moment[] = [...CLOUD_MOMENTS, 'preview', 'up', 'refresh'];
  const inRun = [...RUN_VICTIMS, 'worker' as const].flatMap((victim) =>
    moments.filter((moment) => canDie(victim, moment)).map((moment): Kill => ({ victim, moment })),
  );
  const around: Kill[] = [
    { victim: 'postgres', moment: 'create:after' },
    { victim: 'redis', moment: 'update:after' },
    { victim: 'flush', moment: 'refresh' },
    { victim: 'service', moment: 'replace:after' },
    { victim: 'registry', moment: 'preview' },
  ];
  const plan: Kill[] = [];
  while (plan.length < count) plan.push(...shuffled([...inRun, ...around], random));
  return plan.slice(0, count);
}

export type Desired = Record<string, { size: number; zone: number }>;

/** The next version: one object more, one changed, one replaced, and one less where there are enough. */
export function nextDesired(desired: Desired, version: number, random: () => number): Desired {
  const [changed, replaced, gone] = shuffled(Object.keys(desired), random);
  const next: Desired = { ...desired, [`n${version}`]: { size: 1, zone: 0 } };
  const at = (name: string | undefined) => (name === undefined ? undefined : next[name]);
  const [toChange, toReplace] = [at(changed), at(replaced)];
  if (changed !== undefined && toChange) next[changed] = { ...toChange, size: toChange.size + 1 };
  // Odd zones delete before they create.
  if (replaced !== undefined && toReplace) next[replaced] = { ...toReplace, zone: toReplace.zone + 1 + (version % 2) };
  return Object.fromEntries(Object.entries(next).filter(([name]) => name !== gone));
}
