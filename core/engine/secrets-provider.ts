import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parse, stringify } from 'yaml';
import { ReconcileError, stalled, transient } from '../domain/errors.ts';
import { engineStackName, NO_ORGANIZATION } from './backends.ts';
import { documentAt, isDocument, textAt, type Document } from './json-document.ts';
import type { EngineRequest, ProviderSecrets, StateProvider } from './port.ts';
import { runEngine, type EngineOptions } from './run-engine.ts';
import { runFolders } from './environment.ts';

/** A provider that takes longer does not answer; the engine itself would wait for ever. In milliseconds. */
export const PROVIDER_LIMIT_MS = 120_000;

/** Linux takes 128 KiB in one variable; values are handed over in as many processes as that needs. */
const BATCH_BYTES = 100_000;
const MAX_OUTPUT_BYTES = 64 * 1024;

/** Project and stack of the folder the provider is asked in: it is no state of anybody, and goes with the run. */
const SCRATCH = 'scratch';

/** Encrypted with every batch, so that the provider is asked even where there is no secret yet. */
const PROBE = 'probe';

const REMEDY =
  'check spec.pulumi.secretsProvider, that the key exists and is enabled, and that the credentials of the phase may encrypt and decrypt with it; see docs/secrets.md';

/** What is said when a provider fails, whoever finds out. */
export function providerFailed(provider: string, said: string, cause?: unknown): ReconcileError {
  return transient(
    'SecretsProviderFailed',
    `${provider} does not open the secrets of the state: ${said}; ${REMEDY}`,
    cause,
  );
}

function batches(values: Record<string, string>): [string, string][][] {
  const all: [string, string][][] = [[]];
  let bytes = 0;
  for (const [key, text] of Object.entries(values)) {
    const size = Buffer.byteLength(JSON.stringify(text)) + 100;
    if (size > BATCH_BYTES) {
      throw stalled(
        'SpecInvalid',
        `config ${key} is longer than the ${BATCH_BYTES} bytes that a stack with a secretsProvider takes; read it from a store in the program`,
      );
    }
    bytes += size;
    if (bytes > BATCH_BYTES) {
      all.push([]);
      bytes = size;
    }
    all.at(-1)?.push([key, text]);
  }
  return all;
}

/** An empty state in a folder of its own. The format is that of pkg/backend/diy (3.259.0). */
async function makeScratch(request: EngineRequest): Promise<{ dir: string; settings: string }> {
  const dir = join(request.runDir, 'secrets-provider');
  const stacks = join(dir, '.pulumi', 'stacks', SCRATCH);
  const { home, pulumiHome, temp } = runFolders(request.runDir);
  for (const folder of [stacks, home, pulumiHome, temp]) await mkdir(folder, { recursive: true, mode: 0o700 });
  await writeFile(join(dir, 'Pulumi.yaml'), `name: ${SCRATCH}\nruntime: yaml\n`);
  await writeFile(join(dir, '.pulumi', 'meta.yaml'), 'version: 1\n');
  const checkpoint = { version: 3, checkpoint: { stack: `${NO_ORGANIZATION}/${SCRATCH}/${SCRATCH}` } };
  await writeFile(join(stacks, `${SCRATCH}.json`), JSON.stringify(checkpoint));
  return { dir, settings: join(dir, 'settings.yaml') };
}

/** The service of Pulumi Cloud encrypts for a stack it knows; every other provider is asked in the scratch folder. */
function placeOf(request: EngineRequest, dir: string): EngineRequest {
  if (request.settings.provider === 'default') return request;
  const identity = { organization: NO_ORGANIZATION, project: SCRATCH, stack: SCRATCH };
  return { ...request, programDir: dir, identity: { ...identity, backend: pathToFileURL(dir).href } };
}

function lastLines(text: string): string {
  const lines = text.split('\n').map((line) => line.trim());
  return lines
    .filter((line) => line !== '')
    .slice(0, 6)
    .join(' ')
    .replace(/^error: /, '')
    .slice(0, 600);
}

async function run(engine: EngineOptions, request: EngineRequest, settings: string, json: string): Promise<void> {
  const { provider = '' } = request.settings;
  const limitMs = Math.min(engine.secretsProviderMs ?? PROVIDER_LIMIT_MS, request.timeoutMs);
  try {
    const result = await runEngine(engine, request, {
      args: [
        'config',
        'set-all',
        '--stack',
        engineStackName(request.identity),
        '--config-file',
        settings,
        '--non-interactive',
      ],
      // By the environment, as the passphrase is: other processes of the machine can read argv.
      extraEnvironment: { PULUMI_OPTION_JSON: json },
      timeoutMs: limitMs,
      maxOutputBytes: MAX_OUTPUT_BYTES,
      onOutput: () => undefined,
    });
    if (result.code === 0) return;
    throw providerFailed(provider, engine.scrubber.scrub(lastLines(`${result.stderr}\n${result.stdout}`)));
  } catch (error) {
    if (!(error instanceof ReconcileError) || error.reason !== 'TimedOut') throw error;
    throw providerFailed(provider, `no answer within ${limitMs / 1000} s`, error);
  }
}

/**
 * Has the provider make the key of the state's secrets where `request.settings` has none, and encrypts `values` with it: by
 * the engine, in a process that reads no program and touches no state. No value stands in argv.
 * @throws ReconcileError transient(SecretsProviderFailed), stalled(SpecInvalid)
 */
export async function encryptConfig(
  engine: EngineOptions,
  request: EngineRequest,
  values: Record<string, string>,
): Promise<ProviderSecrets> {
  for (const text of Object.values(values)) engine.scrubber.register(text);
  const { dir, settings } = await makeScratch(request);
  try {
    const { provider, encryptedKey } = request.settings;
    const key = encryptedKey === undefined ? {} : { encryptedkey: encryptedKey };
    await writeFile(settings, stringify({ secretsprovider: provider, ...key }), { mode: 0o600 });
    const place = placeOf(request, dir);
    const ciphertexts: Record<string, string> = {};
    for (const batch of batches(values)) {
      const named = [[PROBE, PROBE] as const, ...batch.map(([, text], index) => [`k${index}`, text] as const)];
      const json = named.map(([name, value]) => [`${SCRATCH}:${name}`, { value, secret: true }] as const);
      await run(engine, place, settings, JSON.stringify(Object.fromEntries(json)));
      const config = documentAt(await readSettings(settings), 'config');
      for (const [index, [name]] of batch.entries())
        ciphertexts[name] = textAt(documentAt(config, `${SCRATCH}:k${index}`), 'secure');
    }
    const made = textAt(await readSettings(settings), 'encryptedkey');
    return { ...(made !== '' && { encryptedKey: made }), ciphertexts };
  } finally {
    await rm(dir, { recursive: true, force: true });
  }
}

async function readSettings(path: string): Promise<Document> {
  const document: unknown = parse(await readFile(path, 'utf8'));
  if (!isDocument(document)) throw new Error('the engine wrote settings that are none');
  return document;
}

/** What a deployment says its secrets are encrypted with. */
export function providerOf(deployment: Document): StateProvider | undefined {
  const provider = documentAt(deployment, 'secrets_providers');
  const state = documentAt(provider, 'state');
  switch (textAt(provider, 'type')) {
    case 'passphrase':
      return { type: 'passphrase', salt: textAt(state, 'salt') };
    case 'cloud':
      return { type: 'cloud', url: textAt(state, 'url'), encryptedKey: textAt(state, 'encryptedkey') };
    case 'service':
      return { type: 'service' };
    default:
      return undefined;
  }
}
