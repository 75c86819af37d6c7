import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { loadConfig } from '#core/config.ts';
import type { Toolchain } from '../../toolchain/setup.ts';
import { createDependencies } from '../../workers/dependencies.ts';
import { demoCacheDir } from './processes.ts';
import { writeFirstVersion } from './program.ts';

/**
 * Installs the program's dependencies the way a worker does, into the cache the demo's worker uses: part of the set-up,
 * because it needs the network.
 */
export async function warmDependencies(toolchain: Toolchain, signal: AbortSignal): Promise<void> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-warm-'));
  try {
    const config = loadConfig({
      PLUMBLINE_DATA: join(dir, 'data'),
      PLUMBLINE_CACHE: demoCacheDir(toolchain),
      PLUMBLINE_KEY_FILE: join(dir, 'key/master.key'),
    });
    const install = createDependencies(config, toolchain.engine.pulumi, process.env);
    await install({
      tenant: 'default',
      runId: 'warm',
      programDir: await writeFirstVersion(join(dir, 'program')),
      parts: {},
      signal,
    });
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}
