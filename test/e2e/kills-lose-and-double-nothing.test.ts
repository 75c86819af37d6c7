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
  'kill -9 of worker, engine, program and provider in mid-apply loses and doubles nothing, and asks what it must',
  { timeout: 900_000 },
  async () => {
    const { hits, questions } = await runSoak({
      dir,
      toolchain: await ensureToolchain(loadConfig({})),
      kills: 4,
      seed: 7,
      stacks: 2,
      plan: [
        { victim: 'provider', moment: 'create:after' },
        { victim: 'engine', moment: 'create:before' },
        { victim: 'worker', moment: 'replace:after' },
        { victim: 'program', moment: 'update:after' },
      ],
      onHit: () => undefined,
    });
    // The world was held against state and wish after each version; here only that the kills and the questions were real.
    expect(hits).toHaveLength(4);
    expect(questions.map((question) => question.split(' ', 1)[0])).toEqual(expect.arrayContaining(['import', 'clear']));
  },
);
