import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startRegistry, type RegistryOptions, type RunningRegistry } from '../../registry/server.ts';

/** A registry in a folder of its own; `close` removes both. */
export async function temporaryRegistry(
  options: Partial<RegistryOptions> = {},
): Promise<RunningRegistry & { dir: string }> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-registry-'));
  const registry = await startRegistry({ dir, ...options });
  return {
    ...registry,
    dir,
    async close() {
      await registry.close();
      await rm(dir, { recursive: true, force: true });
    },
  };
}
