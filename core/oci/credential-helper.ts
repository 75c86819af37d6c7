import { spawn } from 'node:child_process';
import { stalled, transient, type ReconcileError } from '#core/domain/errors.ts';
import { field, parseJson } from './body.ts';
import type { RegistryCredentials } from './port.ts';

const LIMIT_MS = 10_000;
const MAX_OUTPUT = 64 * 1024;
const NAME = /^[a-z0-9-]+$/;
/** What docker's helpers print, with a failing status, where they know nothing. */
const NOT_FOUND = 'credentials not found in native keychain';
const TOKEN_USER = '<token>';

/** What a helper needs to find its keychain, cloud profile or password store; nothing else of ours is passed on. */
const ENVIRONMENT = [
  'PATH',
  'HOME',
  'USER',
  'LANG',
  'DISPLAY',
  'WAYLAND_DISPLAY',
  'XDG_RUNTIME_DIR',
  'XDG_CONFIG_HOME',
  'XDG_DATA_HOME',
  'DBUS_SESSION_BUS_ADDRESS',
  'GNUPGHOME',
  'PASSWORD_STORE_DIR',
  'SSL_CERT_FILE',
  'SSL_CERT_DIR',
  'HTTPS_PROXY',
  'NO_PROXY',
  'AWS_PROFILE',
  'AWS_REGION',
  'AWS_DEFAULT_REGION',
  'AWS_CONFIG_FILE',
  'AWS_SHARED_CREDENTIALS_FILE',
  'AWS_ACCESS_KEY_ID',
  'AWS_SECRET_ACCESS_KEY',
  'AWS_SESSION_TOKEN',
  'AWS_ROLE_ARN',
  'AWS_WEB_IDENTITY_TOKEN_FILE',
  'GOOGLE_APPLICATION_CREDENTIALS',
  'CLOUDSDK_CONFIG',
  'AZURE_CONFIG_DIR',
] as const;

export type HelperEnvironment = Readonly<Record<string, string | undefined>>;

function allowed(own: HelperEnvironment): Record<string, string> {
  return Object.fromEntries(ENVIRONMENT.flatMap((name) => (own[name] === undefined ? [] : [[name, own[name]]])));
}

interface Finished {
  code: number | null;
  output: Buffer;
}

/** Ends a helper with everything it started. */
function kill(pid: number | undefined): void {
  if (pid === undefined) return;
  try {
    process.kill(-pid, 'SIGKILL');
  } catch {
    // It has ended by itself.
  }
}

/** Runs a program without a shell; what it prints for people is dropped, since it may hold secrets. */
async function run(program: string, input: string, own: HelperEnvironment, signal: AbortSignal): Promise<Finished> {
  const limit = AbortSignal.any([signal, AbortSignal.timeout(LIMIT_MS)]);
  limit.throwIfAborted();
  // A group of its own, so that nothing a helper starts outlives it.
  const child = spawn(program, ['get'], { env: allowed(own), stdio: ['pipe', 'pipe', 'ignore'], detached: true });
  const { promise, resolve, reject } = Promise.withResolvers<Finished>();
  const stop = () => {
    kill(child.pid);
    reject(limit.reason);
  };
  limit.addEventListener('abort', stop, { once: true });
  // A helper may end before it has read its input.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input);
  const chunks: Buffer[] = [];
  let size = 0;
  child.stdout.on('data', (chunk: Buffer) => {
    size += chunk.byteLength;
    if (size > MAX_OUTPUT) kill(child.pid);
    else chunks.push(chunk);
  });
  child.once('error', reject);
  child.once('close', (code) => resolve({ code, output: Buffer.concat(chunks) }));
  return await promise.finally(() => limit.removeEventListener('abort', stop));
}

function failed(program: string, server: string, why: string, cause?: unknown): ReconcileError {
  return transient('SourceUnauthorized', `${program} gave no credentials for ${server}: ${why}`, cause);
}

/** Why a helper could not be run, in words that hold nothing it printed. */
function whyOf(error: unknown): string {
  if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return 'it is not on the PATH';
  return `it could not be run, or did not end within ${LIMIT_MS / 1000} s`;
}

/**
 * Asks `docker-credential-<name> get` (docker-credential-helpers protocol): the server goes in by standard input, at most
 * 64 KiB come back, within 10 s. Undefined where the helper knows no credentials.
 * @throws ReconcileError stalled SourceUnauthorized for a name that is none; transient SourceUnauthorized where it fails
 */
export async function askCredentialHelper(
  name: string,
  server: string,
  own: HelperEnvironment,
  signal: AbortSignal,
): Promise<RegistryCredentials | undefined> {
  if (!NAME.test(name)) {
    throw stalled('SourceUnauthorized', `${JSON.stringify(name.slice(0, 40))} is no name of a credential helper`);
  }
  const program = `docker-credential-${name}`;
  const finished = await run(program, server, own, signal).catch((error: unknown) => {
    if (signal.aborted) throw signal.reason;
    throw failed(program, server, whyOf(error), error);
  });
  const text = finished.output.toString('utf8');
  if (finished.code !== 0) {
    if (text.trim() === NOT_FOUND) return undefined;
    throw failed(program, server, `it ended with ${finished.code ?? 'a signal'}; run it by hand to see why`);
  }
  const answer = parseJson(finished.output);
  const username = field(answer, 'Username');
  const secret = field(answer, 'Secret');
  if (typeof username !== 'string' || typeof secret !== 'string')
    throw failed(program, server, 'its answer is not JSON');
  if (secret === '') return undefined;
  return username === TOKEN_USER ? { identityToken: secret } : { username, password: secret };
}
