import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { loadConfig } from '#core/config.ts';
import { ensureToolchain } from '../../toolchain/setup.ts';
import { runSoak } from '../soak/run-soak.ts';

let dir: string;
beforeAll(async () => (dir = await mkdtemp(join(tmpdir(), 'plumbline-kills-'))));
afterAll(() => rm(dir, { recursive: true, force: true }));

/** The seeded sample of `npm run soak`: the kills that hurt most, on a whole installation of real processes. */
it(
  'kill -9 of worker, engine, provider, PostgreSQL and Redis in the middle of an apply loses and doubles nothing',
  { timeout: 900_000 },
  async () => {
    const reports = await runSoak({
      dir,
      toolchain: await ensureToolchain(loadConfig({})),
      kills: 5,
      seed: 7,
      plan: [
        { victim: 'worker', moment: 'applying' },
        { victim: 'engine', moment: 'applying' },
        { victim: 'provider', moment: 'applying' },
        { victim: 'postgres', moment: 'applying' },
        { victim: 'redis', moment: 'approved' },
      ],
      onKill: () => undefined,
    });
    // The world was held against the state and the wish after each; here only that the kills were real.
    expect(reports.filter((report) => report.killed !== undefined).length).toBeGreaterThanOrEqual(3);
  },
);
