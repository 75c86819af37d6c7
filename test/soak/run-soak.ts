import { manifest } from '../../scripts/demo/api.ts';
import type { Toolchain } from '../../toolchain/setup.ts';
import { startCloud } from './cloud.ts';
import { startInstallation } from './installation.ts';
import { checkWorld, killPlan, nextDesired, playKill, seeded, type KillReport, type Moment } from './kill-soak.ts';
import type { Victim } from './victims.ts';

export interface SoakOptions {
  dir: string;
  toolchain: Toolchain;
  /** Kills that must hit; a moment that had no such process is tried with the next one. */
  kills: number;
  seed: number;
  /** A fixed sample instead of the shuffled matrix. */
  plan?: { victim: Victim; moment: Moment }[];
  /** Ends the soak before the next kill. */
  signal?: AbortSignal;
  onKill(report: KillReport): void;
}

const SLOW_MS = 500;

function stack(registry: string, cloudUrl: string) {
  const spec = {
    source: {
      repository: `oci://${registry}/infra/soak`,
      ref: { tag: 'prod' },
      interval: '5s',
      verify: { unsigned: { reason: 'the soak is about crashes' } },
    },
    pulumi: { stack: 'prod', environment: { CLOUD_URL: cloudUrl } },
    approval: { mode: 'manual' },
    drift: { interval: '10s' },
    retry: { interval: '1s', max: 20 },
  };
  return manifest('Stack', 'soak', spec);
}

/**
 * Kills processes with -9 in the middle of real runs and starts them again, and holds the world against what was asked for
 * after each. @throws Error at the first thing lost, doubled, or stuck without a question.
 */
export async function runSoak(options: SoakOptions): Promise<KillReport[]> {
  const random = seeded(options.seed);
  const cloud = await startCloud(SLOW_MS);
  const installation = await startInstallation(options.dir, options.toolchain);
  const reports: KillReport[] = [];
  try {
    await installation.api.ask('POST', '/v1/apply', { manifests: [stack(installation.registry, cloud.url)] });
    let desired: Record<string, number> = { a: 1, b: 1, c: 1 };
    const plan = options.plan ?? killPlan(options.kills * 3, random);
    let hits = 0;
    for (const [index, kill] of plan.entries()) {
      if (hits >= options.kills || options.signal?.aborted === true) break;
      desired = nextDesired(desired, index + 1, random);
      const report = await playKill({ installation, cloud }, { ...kill, number: index + 1, desired }, random);
      if (report.killed !== undefined) hits += 1;
      reports.push(report);
      options.onKill(report);
    }
    await checkWorld(installation.stateDir, cloud, desired);
    return reports;
  } finally {
    await installation.stop();
    await cloud.close();
  }
}
