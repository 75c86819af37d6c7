import { cp, mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from 'vitest';
import { checkIsolation } from '#core/engine/isolation.ts';
import type { Engine, EngineRequest } from '#core/engine/port.ts';
import { createPulumiEngine } from '#core/engine/pulumi.ts';
import { newEncryptionSalt } from '#core/engine/settings.ts';
import { createScrubber } from '#core/scrubber.ts';
import { ensureEngine } from '../../toolchain/engine.ts';

const CHECKOUT = join(import.meta.dirname, '..', '..');
const PASSPHRASE = 'correct horse battery';

/** Config of test/e2e/programs/files; `secret` is one. */
export type FilesConfig = Partial<{
  files: Record<string, string>;
  renamed: Record<string, string>;
  secret: string;
  behaviour: string;
  follow: boolean;
  protect: boolean;
}>;

/** A real engine with a state, a program and a folder its provider writes to, all of their own. */
export interface EngineFixture {
  engine: Engine;
  /** What the provider wrote: name → text. */
  files(): Promise<Record<string, string>>;
  /** Every call of the provider so far. */
  log(): Promise<string[]>;
  filesDir: string;
  stateDir: string;
  /** A request with a fresh run folder. Its output is added to `output`. */
  request(config: FilesConfig, more?: Partial<EngineRequest>): Promise<EngineRequest>;
  /** As `request`, for a YAML program of these resources. */
  yamlRequest(resources: Record<string, unknown>, more?: Partial<EngineRequest>): Promise<EngineRequest>;
  output(): string;
  /** Previews and applies without a question. */
  apply(config: FilesConfig): Promise<void>;
  close(): Promise<void>;
}

/** Resources of a YAML program for which neither Node.js nor a provider is started: a run of them takes a quarter of the time. */
export function stashes(words: Record<string, string>, options: { protect?: boolean } = {}): Record<string, unknown> {
  const entries = Object.entries(words).map(
    ([name, input]) => [name, { type: 'pulumi:index:Stash', properties: { input }, options }] as const,
  );
  return Object.fromEntries(entries);
}

/**
 * @param engineDir another folder with a pulumi, for tests of a broken one.
 * @param more limits of the engine
 */
export async function openEngineFixture(
  engineDir?: string,
  more: { secretsProviderMs?: number } = {},
): Promise<EngineFixture> {
  const dir = await mkdtemp(join(tmpdir(), 'engine-'));
  const stateDir = join(dir, 'state');
  // Below the state, because a run may write to nothing else that stays.
  const filesDir = join(stateDir, 'files');
  await mkdir(filesDir, { recursive: true });
  const parts = await ensureEngine({ toolchainDir: inject('toolchainDir'), onProgress: () => undefined });
  const engine = createPulumiEngine({
    engineDir: engineDir ?? parts.dir,
    nodePath: parts.node,
    isolation: (await checkIsolation()) === undefined ? 'namespaces' : 'none',
    hiddenDirs: [dir],
    maxOutputBytes: 64 * 1024,
    scrubber: createScrubber(),
    ownEnvironment: {},
    ...more,
  });
  const encryptionSalt = await newEncryptionSalt(PASSPHRASE);
  let runs = 0;
  let output = '';

  const fixture: EngineFixture = {
    engine,
    filesDir,
    stateDir,
    output: () => output,
    async files() {
      const names = (await readdir(filesDir)).filter((name) => name !== 'log').sort();
      const files: Record<string, string> = {};
      for (const name of names) files[name] = await readFile(join(filesDir, name), 'utf8');
      return files;
    },
    log: async () =>
      (await readFile(join(filesDir, 'log'), 'utf8').catch(() => '')).split('\n').filter((line) => line !== ''),
    async request(config, more = {}) {
      const runId = `run-${(runs += 1)}`;
      const runDir = join(dir, runId);
      const programDir = join(runDir, 'program');
      await cp(join(import.meta.dirname, 'programs/files'), programDir, { recursive: true });
      await symlink(join(CHECKOUT, 'node_modules'), join(programDir, 'node_modules'));
      return {
        tenant: 'acme',
        runId,
        runDir,
        programDir,
        readOnlyDirs: [],
        identity: { backend: `file://${stateDir}`, organization: 'organization', project: 'files', stack: 'test' },
        settings: { encryptionSalt },
        passphrase: PASSPHRASE,
        config: Object.fromEntries(
          Object.entries(config).map(([key, value]) => [key, { value, secret: key === 'secret' }]),
        ),
        environment: { FILES_DIR: filesDir },
        targets: [],
        timeoutMs: 120_000,
        signal: new AbortController().signal,
        guard: { started: async () => undefined, ended: async () => undefined, remainingMs: () => 120_000 },
        onOutput: (text) => void (output += text),
        ...more,
      };
    },
    async yamlRequest(resources, more = {}) {
      const request = await fixture.request({}, more);
      await rm(request.programDir, { recursive: true });
      await mkdir(request.programDir);
      const program = JSON.stringify({ name: 'files', runtime: 'yaml', resources });
      await writeFile(join(request.programDir, 'Pulumi.yaml'), program);
      return request;
    },
    async apply(config) {
      const request = await fixture.request(config);
      const { plan } = await engine.preview(request);
      await engine.apply({ ...request, plan, gate: async () => [] });
    },
    close: () => rm(dir, { recursive: true, force: true }),
  };
  return fixture;
}
