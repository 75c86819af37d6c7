import { Agent, request } from 'undici';
import { ReconcileError } from '../domain/errors.ts';
import { guardedLookup, isAllowedHost, isLoopbackName } from '../oci/address-guard.ts';
import { parseJson } from '../oci/body.ts';
import { cannotBeUsed, storeFailed, type StoreRead } from './port.ts';

/** A secret is small; AWS and GCP take 64 KiB at most, Vault 1 MiB. */
export const MAX_STORE_BYTES = 1024 * 1024;

/** The parser writes every form of an IPv4 address in one way. */
const ANY_LOOPBACK = /^(?:127\.|0\.|\[::1?\]$|\[::ffff:7f|(?:.+\.)?localhost\.?$)/;

export interface StoreRequest {
  method: 'GET' | 'POST';
  url: URL;
  headers?: Record<string, string>;
  body?: string;
}

export interface StoreAnswer {
  status: number;
  /** Parsed JSON; undefined when the body is none. */
  body: unknown;
}

/**
 * The address of a store. Metadata and link-local addresses are refused, and so is plain HTTP but on this machine: what is
 * asked for is secret, and so is the token that goes with it.
 * @throws stalled(SpecInvalid)
 */
export function storeAddress(read: StoreRead, text: string | undefined): URL {
  if (text === undefined) throw cannotBeUsed(read, 'spec.external.address is needed: the URL of the store');
  const url = URL.parse(text);
  if (url === null || url.username !== '' || url.password !== '' || url.search !== '' || url.hash !== '')
    throw cannotBeUsed(read, 'an address must be a URL without user, password, query and fragment');
  const isSafe = url.protocol === 'https:' || (url.protocol === 'http:' && isLoopbackName(url.hostname));
  if (!isSafe) throw cannotBeUsed(read, `the address ${url.origin} must be https`);
  if (read.mayUseLoopback === false && ANY_LOOPBACK.test(url.hostname))
    throw cannotBeUsed(read, `the address ${url.origin} is the worker itself, which serves other tenants as well`);
  if (!isAllowedHost(url.hostname, 'configured'))
    throw cannotBeUsed(read, `the address ${url.origin} is one of a metadata service`);
  return url;
}

/** A path below an address, as the store's API has it. @throws stalled(SpecInvalid) when it would lead elsewhere */
export function below(read: StoreRead, address: URL, path: string): URL {
  const url = new URL(address);
  if (path.split('/').some((part) => part === '.' || part === '..')) throw cannotBeUsed(read, 'a path has no . or ..');
  const encoded = path.split('/').map(encodeURIComponent).join('/');
  url.pathname = `${url.pathname.replace(/\/+$/, '')}/${encoded}`;
  return url;
}

async function readLimited(read: StoreRead, body: AsyncIterable<unknown>): Promise<Buffer> {
  const pieces: Buffer[] = [];
  let bytes = 0;
  for await (const piece of body) {
    if (!(piece instanceof Uint8Array)) continue;
    bytes += piece.length;
    if (bytes > MAX_STORE_BYTES) throw storeFailed(read, `it answers with more than ${MAX_STORE_BYTES} bytes`);
    pieces.push(Buffer.from(piece));
  }
  return Buffer.concat(pieces);
}

/**
 * One request to a store, within the time of the reading and 1 MiB; redirects are not followed, for a token would go along.
 * @throws transient(SecretStoreFailed) when there is no answer
 */
export async function ask(read: StoreRead, { url, ...wanted }: StoreRequest): Promise<StoreAnswer> {
  const agent = new Agent({ connect: { lookup: guardedLookup('configured') }, pipelining: 0 });
  try {
    const answer = await request(url, { ...wanted, body: wanted.body ?? null, dispatcher: agent, signal: read.signal });
    const bytes = await readLimited(read, answer.body);
    return { status: answer.statusCode, body: parseJson(bytes) };
  } catch (error) {
    if (read.signal.aborted) throw storeFailed(read, 'it did not answer in time');
    if (error instanceof ReconcileError) throw error;
    throw storeFailed(read, `${url.host} does not answer (${codeOf(error)})`);
  } finally {
    await agent.destroy();
  }
}

function codeOf(error: unknown): string {
  if (!(error instanceof Error)) return 'unknown error';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.message.slice(0, 200);
}

/** A word of an error, for a message; empty when there is none. */
export function word(value: unknown): string {
  return typeof value === 'string' ? value.slice(0, 100) : '';
}
