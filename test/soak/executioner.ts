import { setTimeout as delay } from 'node:timers/promises';
import type { Cloud, CloudMoment } from './cloud.ts';
import type { Installation } from './installation.ts';
import type { Kill } from './kills.ts';
import { killIfThere, RUN_VICTIMS, runsOf, type RunVictim, type Server, type Victim } from './victims.ts';

/** A kill that hit. */
export interface Hit extends Kill {
  number: number;
  stack: string;
  /** Name and process of what was killed. */
  killed: string;
}

/** Hands out kills to stacks and carries each out when its stack comes to the moment. */
export interface Executioner {
  /** Gives the stack its next kill; false when none is left or it has one already. */
  arm(stack: string): boolean;
  isArmed(stack: string): boolean;
  /** Takes the kill back where its moment did not come; it is given to somebody else. */
  disarm(stack: string): void;
  hits: readonly Hit[];
  stop(): void;
}

/** Between two looks for an engine operation. */
const LOOK_MS = 100;
/** The kill falls anywhere in the operation's first part. */
const WITHIN_MS = 700;

function isRunVictim(victim: Victim): victim is RunVictim {
  return RUN_VICTIMS.some((known) => known === victim);
}

/** @param wanted kills that must hit; the plan holds more, for moments that had no such process. */
export function createExecutioner(options: {
  installation: Installation;
  cloud: Cloud;
  plan: Kill[];
  wanted: number;
  random: () => number;
  onHit(hit: Hit): void;
}): Executioner {
  const { installation, cloud, random } = options;
  const plan = [...options.plan];
  const armed = new Map<string, Kill>();
  const hits: Hit[] = [];
  let underWay = 0;
  let stopped = false;

  const holderOf = (stack: string) => installation.workers().find((worker) => runsOf(stack, worker).length > 0);

  async function strike(stack: string, kill: Kill, operation: string | undefined): Promise<string | undefined> {
    const { victim } = kill;
    if (!isRunVictim(victim)) return await installation.kill(victim satisfies Server, holderOf(stack));
    const runs = installation.workers().flatMap((worker) => runsOf(stack, worker));
    const run = runs.find((candidate) => operation === undefined || candidate.operation === operation);
    const pid = run?.pids[victim];
    return pid !== undefined && killIfThere(pid) ? `${victim} ${pid}` : undefined;
  }

  async function carryOut(stack: string, kill: Kill, operation?: string): Promise<boolean> {
    armed.delete(stack);
    underWay += 1;
    try {
      const killed = await strike(stack, kill, operation);
      if (killed === undefined) return false;
      const hit = { ...kill, number: hits.length + 1, stack, killed };
      hits.push(hit);
      options.onHit(hit);
      return true;
    } finally {
      underWay -= 1;
    }
  }

  cloud.onMoment(async ({ stack, step, phase }: CloudMoment) => {
    const kill = armed.get(stack);
    if (kill?.moment !== `${step}:${phase}`) return false;
    const hit = await carryOut(stack, kill);
    // What was sent by a process that is gone may still arrive, or not.
    return (
      hit && phase === 'before' && (isRunVictim(kill.victim) ? kill.victim !== 'program' : kill.victim === 'worker')
    );
  });

  async function look(): Promise<void> {
    for (const [stack, kill] of armed) {
      if (kill.moment.includes(':')) continue;
      const operations = installation.workers().flatMap((worker) => runsOf(stack, worker));
      if (!operations.some(({ operation }) => operation === kill.moment)) continue;
      armed.delete(stack);
      await delay(random() * WITHIN_MS);
      await carryOut(stack, kill, kill.moment);
    }
  }

  const watching = (async () => {
    while (!stopped) {
      await look();
      await delay(LOOK_MS);
    }
  })();
  watching.catch(() => undefined);

  return {
    hits,
    arm(stack) {
      if (armed.has(stack) || hits.length + armed.size + underWay >= options.wanted) return false;
      const kill = plan.shift();
      if (kill === undefined) return false;
      armed.set(stack, kill);
      return true;
    },
    isArmed: (stack) => armed.has(stack),
    disarm(stack) {
      const kill = armed.get(stack);
      armed.delete(stack);
      if (kill !== undefined) plan.push(kill);
    },
    stop: () => void (stopped = true),
  };
}
