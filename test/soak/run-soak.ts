import { manifest } from '../../scripts/demo/api.ts';
import type { Toolchain } from '../../toolchain/setup.ts';
import { startCloud, type Cloud } from './cloud.ts';
import { createExecutioner, type Executioner, type Hit } from './executioner.ts';
import { startInstallation, type Installation } from './installation.ts';
import { killPlan, nextDesired, seeded, type Desired, type Kill } from './kills.ts';
import { createStory, type Story } from './story.ts';

export interface SoakOptions {
  dir: string;
  toolchain: Toolchain;
  /** Kills that must hit; a moment that had no such process is tried again. */
  kills: number;
  seed: number;
  /** Stacks that run beside each other. */
  stacks: number;
  /** A fixed sample instead of the shuffled matrix. */
  plan?: Kill[];
  /** Ends the soak before the next version. */
  signal?: AbortSignal;
  onHit(hit: Hit): void;
}

export interface SoakReport {
  hits: readonly Hit[];
  /** Answers that were given to questions, `import n3`, `clear n3` or `unlock`. */
  questions: string[];
  /** Versions that were applied and held against the world. */
  versions: number;
  /** Writes to the cloud. */
  writes: number;
}

const SLOW_MS = 200;
/** Of one version; a kill in the recovery from a kill among them. */
const KILLS_A_VERSION = 4;
const FIRST: Desired = { a: { size: 1, zone: 0 }, b: { size: 1, zone: 0 }, c: { size: 1, zone: 0 } };

function manifestOf(installation: Installation, cloud: Cloud, stack: string, index: number) {
  return manifest('Stack', stack, {
    source: {
      repository: `oci://${installation.registry}/infra/${stack}`,
      ref: { tag: 'prod' },
      interval: '5s',
      verify: { unsigned: { reason: 'the soak is about crashes' } },
    },
    pulumi: { stack, environment: { CLOUD_URL: `${cloud.url}/${stack}` } },
    approval: { mode: index % 2 === 0 ? 'manual' : 'auto' },
    // One stack is looked at for drift between its runs, beside which kills fall as well.
    drift: { interval: index === 0 ? '20s' : '24h' },
    retry: { interval: '1s', max: 50 },
  });
}

/** One version, a few kills, and the story to its end. */
async function playVersion(story: Story, executioner: Executioner, desired: Desired): Promise<void> {
  let given = executioner.arm(story.stack) ? 1 : 0;
  await story.push(desired);
  await story.converge(() => {
    if (given < KILLS_A_VERSION && !executioner.isArmed(story.stack) && executioner.arm(story.stack)) given += 1;
  });
  executioner.disarm(story.stack);
  // A kill that hit in the last moment is recovered from.
  await story.converge(() => undefined);
  await story.check();
}

/**
 * Kills processes with -9 in the middle of real runs and starts them again, and holds the world against what was asked for
 * after each version. @throws Error at the first thing lost, doubled, applied blindly, or stuck without a question.
 */
export async function runSoak(options: SoakOptions): Promise<SoakReport> {
  const random = seeded(options.seed);
  const cloud = await startCloud(SLOW_MS);
  const installation = await startInstallation(options.dir, options.toolchain, {
    workers: 2,
    concurrency: Math.ceil(options.stacks / 2),
    leaseSeconds: 4,
  });
  const plan = options.plan ?? killPlan(options.kills * 2, random);
  const { kills: wanted, onHit } = options;
  const executioner = createExecutioner({ installation, cloud, plan, wanted, random, onHit });
  let versions = 0;
  const failed = new AbortController();
  const isOver = () => executioner.hits.length >= wanted || options.signal?.aborted === true || failed.signal.aborted;

  async function live(index: number): Promise<Story> {
    const story = createStory(installation, cloud, `s${index}`);
    let desired = FIRST;
    try {
      await installation.api.ask('POST', '/v1/apply', {
        manifests: [manifestOf(installation, cloud, story.stack, index)],
      });
      await story.push(desired);
      await story.converge(() => undefined);
      for (let version = 1; !isOver(); version += 1) {
        desired = nextDesired(desired, version, random);
        await playVersion(story, executioner, desired);
        versions += 1;
      }
      return story;
    } catch (error) {
      failed.abort();
      throw error;
    }
  }

  try {
    const stories = await Promise.all(Array.from({ length: options.stacks }, (_, index) => live(index)));
    const questions = stories.flatMap((story) => story.questions);
    return { hits: executioner.hits, questions, versions, writes: cloud.log.length };
  } finally {
    executioner.stop();
    await installation.stop();
    await cloud.close();
  }
}
