import { lstat, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { stalled } from '../domain/errors.ts';
import { isDocument } from './json-document.ts';

/** What makes a folder a policy pack. */
const PACK_FILE = 'PulumiPolicy.yaml';

const MAX_PACK_FILE_BYTES = 256 * 1024;

/** Whether a folder holds a policy pack. */
export async function isPolicyPack(dir: string): Promise<boolean> {
  const found = await lstat(join(dir, PACK_FILE)).catch(() => undefined);
  return found?.isFile() === true;
}

/**
 * Checks that the pack in a folder can be run here at all: packs in Node.js on `@pulumi/policy` can.
 * @throws ReconcileError stalled PolicyPackFailed with what to correct
 */
export async function checkPolicyPack(dir: string, name: string): Promise<void> {
  const refuse = (why: string, cause?: unknown) => stalled('PolicyPackFailed', `policy pack ${name}: ${why}`, cause);
  const file = join(dir, PACK_FILE);
  const found = await lstat(file).catch(() => undefined);
  if (found?.isFile() !== true) throw refuse(`there is no ${PACK_FILE}; name the folder of a policy pack`);
  if (found.size > MAX_PACK_FILE_BYTES) throw refuse(`${PACK_FILE} is larger than ${MAX_PACK_FILE_BYTES} bytes`);
  let document: unknown;
  try {
    document = parse(await readFile(file, 'utf8'), { maxAliasCount: 20 });
  } catch (error) {
    throw refuse(`${PACK_FILE} is not valid YAML: ${error instanceof Error ? error.message : String(error)}`, error);
  }
  const runtime = isDocument(document) ? document['runtime'] : undefined;
  const language = isDocument(runtime) ? runtime['name'] : runtime;
  if (language !== 'nodejs')
    throw refuse(`its runtime is ${JSON.stringify(language) ?? 'not named'}, and packs are run in nodejs only`);
}
