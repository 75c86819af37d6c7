import { randomUUID } from 'node:crypto';
import { mkdir, open, rename } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import type { Config } from '#core/config.ts';
import type { Phase } from '#core/domain/credential.ts';
import { askToken } from '#core/identity/ask-token.ts';
import { signTokenRequest } from '#core/identity/token-request.ts';
import { databaseNow } from '#core/store/clock.ts';
import type { WorkerDeps } from '../deps.ts';
import type { HeldLease } from '../lease.ts';
import type { Workspace } from './workspace.ts';

/** Well before a token of ten minutes is over, with time to try again. */
const REFRESH_MS = 4 * 60_000;
const RETRY_MS = 15_000;

/** The run a token is for, and how it is held. */
export interface TokenScene {
  lease: Pick<HeldLease, 'stackId' | 'lane' | 'fence' | 'signal'>;
  runId: string;
  phase: Phase;
  workspace: Pick<Workspace, 'identityDir' | 'ended'>;
}

/** Where the worker asks for tokens: the address the service listens on, unless a setting says otherwise. */
export function serviceUrl(config: Config): string {
  if (config.PLUMBLINE_SERVICE_URL !== '') return config.PLUMBLINE_SERVICE_URL.replace(/\/+$/, '');
  const host = config.PLUMBLINE_LISTEN_HOST;
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '[::1]' : host;
  return `http://${reachable.includes(':') && !reachable.startsWith('[') ? `[${reachable}]` : reachable}:${config.PLUMBLINE_LISTEN_PORT}`;
}

/** Replaces a file in one step, so that no reader finds half of it. */
export async function replaceFile(file: string, text: string): Promise<void> {
  const draft = `${file}.${randomUUID()}`;
  const handle = await open(draft, 'wx', 0o600);
  try {
    await handle.writeFile(text);
  } finally {
    await handle.close();
  }
  await rename(draft, file);
}

async function writeToken(deps: WorkerDeps, scene: TokenScene, file: string, signal: AbortSignal): Promise<void> {
  const { lease, runId, phase } = scene;
  const wish = {
    stackId: lease.stackId,
    lane: lease.lane,
    fence: lease.fence,
    workerId: deps.identity.id,
    runId,
    phase,
  };
  const signed = signTokenRequest(deps.masterKey, wish, await databaseNow(deps.db));
  const { token } = await askToken({ serviceUrl: serviceUrl(deps.config), masterKey: deps.masterKey, signal }, signed);
  deps.scrubber.register(token);
  await replaceFile(file, token);
}

async function keepFresh(deps: WorkerDeps, scene: TokenScene, file: string, refreshMs: number): Promise<void> {
  const { ended } = scene.workspace;
  let waitMs = refreshMs;
  while (!ended.aborted) {
    await delay(waitMs, undefined, { signal: ended, ref: false });
    try {
      await writeToken(deps, scene, file, ended);
      waitMs = refreshMs;
    } catch (error) {
      if (ended.aborted) return;
      deps.logger.warn({ err: error, run: scene.runId, reason: 'IdentityFailed' }, 'an identity token was not renewed');
      waitMs = RETRY_MS;
    }
  }
}

/**
 * Writes a token of the run to a file that only the run sees, read-only, and renews it until the workspace ends. Returns the
 * path.
 * @throws ReconcileError IdentityFailed; or the reason of the lease's signal
 */
export async function keepToken(deps: WorkerDeps, scene: TokenScene, refreshMs = REFRESH_MS): Promise<string> {
  const { workspace, lease } = scene;
  await mkdir(workspace.identityDir, { recursive: true, mode: 0o700 });
  const file = join(workspace.identityDir, 'token');
  await writeToken(deps, scene, file, AbortSignal.any([lease.signal, workspace.ended]));
  // It ends with the workspace; what it throws then is that end.
  keepFresh(deps, scene, file, refreshMs).catch(() => undefined);
  return file;
}
