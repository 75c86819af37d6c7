import { randomBytes } from 'node:crypto';
import { copyFile, mkdir } from 'node:fs/promises';
import { homedir } from 'node:os';
import { delimiter, join } from 'node:path';
import type { Parts } from '../scripts/demo/processes.ts';
import { ensureTool } from '../toolchain/go-tools.ts';
import type { Toolchain } from '../toolchain/setup.ts';
import { timed } from './command.ts';
import { BARE_DESIRED, REPOSITORY, TAG } from './revisions.ts';

const STEP_MS = 180_000;
const STACK = 'prod';
const SETTINGS = `Pulumi.${STACK}.yaml`;

/** Milliseconds of each step of the bare script. */
export interface BareTimes {
  pull: number;
  install: number;
  preview: number;
}

/** What a person would write instead of Plumbline: `oras pull`, `npm ci`, `pulumi preview`, as separate commands. */
export interface Bare {
  /** Makes its stack and applies the revision the tag names now; warms npm's cache. */
  prepare(signal: AbortSignal): Promise<void>;
  /** The script, in a new folder, up to the preview of the one change every revision makes. */
  preview(signal: AbortSignal): Promise<BareTimes>;
  /** Milliseconds of `oras resolve` of the tag. */
  resolve(signal: AbortSignal): Promise<number>;
}

function environment(dir: string, engineDir: string): Record<string, string> {
  const kept = ['LANG', 'TZ', 'SSL_CERT_FILE', 'SSL_CERT_DIR', 'NODE_EXTRA_CA_CERTS'];
  const own = Object.fromEntries(
    kept.flatMap((name) => (process.env[name] === undefined ? [] : [[name, process.env[name] ?? '']])),
  );
  return {
    ...own,
    PATH: [engineDir, process.env['PATH'] ?? ''].join(delimiter),
    HOME: join(dir, 'home'),
    // A mirror or proxy that npm was told of, with a cache of our own.
    npm_config_userconfig: join(homedir(), '.npmrc'),
    npm_config_cache: join(dir, 'npm-cache'),
    npm_config_update_notifier: 'false',
    PULUMI_HOME: join(dir, 'pulumi-home'),
    PULUMI_BACKEND_URL: `file://${join(dir, 'state')}`,
    PULUMI_CONFIG_PASSPHRASE: randomBytes(18).toString('base64url'),
    // Nothing leaves loopback, and the peer does not wait for it either.
    PULUMI_SKIP_UPDATE_CHECK: 'true',
    PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION: 'true',
  };
}

/** Sets the bare script up below `dir`, with the same engine, registry and managed cluster as Plumbline. */
export async function createBare(dir: string, toolchain: Toolchain, parts: Parts): Promise<Bare> {
  const oras = await ensureTool('oras', toolchain.dir);
  const env = environment(dir, toolchain.engine.dir);
  for (const folder of ['home', 'pulumi-home', 'state']) await mkdir(join(dir, folder), { recursive: true });
  const reference = `${parts.registry}/${REPOSITORY}:${TAG}`;
  let folders = 0;

  async function fetchProgram(signal: AbortSignal): Promise<{ cwd: string; pull: number; install: number }> {
    const cwd = join(dir, `run-${(folders += 1)}`);
    await mkdir(cwd);
    const options = { cwd, env, limitMs: STEP_MS, signal };
    const pulled = await timed(oras, ['pull', '--plain-http', reference], options);
    const unpacked = await timed('tar', ['-xzf', 'program.tar.gz'], options);
    // An audit would ask the registry, and Plumbline runs no install scripts: the peer is spared both.
    const installed = await timed(
      'npm',
      ['ci', '--prefer-offline', '--ignore-scripts', '--no-audit', '--no-fund'],
      options,
    );
    return { cwd, pull: pulled.ms + unpacked.ms, install: installed.ms };
  }

  return {
    async prepare(signal) {
      const { cwd } = await fetchProgram(signal);
      const options = { cwd, env: { ...env, ...parts.target.apply }, limitMs: STEP_MS, signal };
      await timed('pulumi', ['stack', 'init', STACK, '--non-interactive'], options);
      await timed('pulumi', ['config', 'set', 'desired', BARE_DESIRED, '--stack', STACK], options);
      const input = randomBytes(18).toString('base64url');
      await timed('pulumi', ['config', 'set', '--secret', 'apiPassword', '--stack', STACK], { ...options, input });
      await timed('pulumi', ['up', '--yes', '--skip-preview', '--non-interactive', '--stack', STACK], options);
      await copyFile(join(cwd, SETTINGS), join(dir, SETTINGS));
    },
    async preview(signal) {
      const { cwd, pull, install } = await fetchProgram(signal);
      await copyFile(join(dir, SETTINGS), join(cwd, SETTINGS));
      const options = { cwd, env: { ...env, ...parts.target.plan }, limitMs: STEP_MS, signal };
      const { ms, output } = await timed('pulumi', ['preview', '--non-interactive', '--stack', STACK], options);
      if (!/~ 1 to update/.test(output))
        throw new Error(`the bare preview did not find the one change:\n${output.slice(-2000)}`);
      return { pull, install, preview: ms };
    },
    async resolve(signal) {
      const { ms } = await timed(oras, ['resolve', '--plain-http', reference], {
        cwd: dir,
        env,
        limitMs: STEP_MS,
        signal,
      });
      return ms;
    },
  };
}
