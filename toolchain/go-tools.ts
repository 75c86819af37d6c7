import { join } from 'node:path';
import { ensureGoTool } from './go-tool.ts';
import { checkout } from './paths.ts';
import type { Progress } from './progress.mjs';

/** Programs that tests and benchmarks measure us against. Versions are in the go.mod of `toolchain/<folder>`. */
const packages = {
  conformance: 'github.com/opencontainers/distribution-spec/conformance',
  cosign: 'github.com/sigstore/cosign/v3/cmd/cosign',
  crane: 'github.com/google/go-containerregistry/cmd/crane',
  notation: 'github.com/notaryproject/notation/cmd/notation',
  olareg: 'github.com/olareg/olareg/cmd/olareg',
  oras: 'oras.land/oras/cmd/oras',
  'registry-distribution': 'github.com/distribution/distribution/v3/cmd/registry',
} as const;

export type ToolName = keyof typeof packages;

/** All of them, those that are built quickly first. */
export const TOOLS = ['crane', 'olareg', 'oras', 'conformance', 'notation', 'registry-distribution', 'cosign'] as const;

/**
 * Path of one of the programs, built the first time (cosign takes minutes, the others seconds) and cached in
 * `toolchainDir`.
 * @throws Error as `ensureGoTool` does
 */
export function ensureTool(name: ToolName, toolchainDir: string, onProgress?: Progress): Promise<string> {
  const moduleDir = join(checkout, 'toolchain', name);
  return ensureGoTool({ moduleDir, package: packages[name], name, toolchainDir, ...(onProgress && { onProgress }) });
}
