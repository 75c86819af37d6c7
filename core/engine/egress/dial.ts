import { lookup } from 'node:dns/promises';
import type { LookupAddress } from 'node:dns';
import { connect, isIP, type LookupFunction, type Socket } from 'node:net';
import { checkAddress, checkName, type EgressPolicy } from './policy.ts';
import { normalizeHost } from './rules.ts';

const LOOKUP_MS = 10_000;
const CONNECT_MS = 15_000;

/** Finds the addresses of a name; the worker's resolver, or a test's. */
export type Resolve = (host: string) => Promise<LookupAddress[]>;

const systemResolve: Resolve = (host) => lookup(host, { all: true });

async function withinLimit<T>(work: Promise<T>, what: string): Promise<T> {
  const limit = Promise.withResolvers<never>();
  const timer = setTimeout(() => limit.reject(new Error(`${what} took more than ${LOOKUP_MS / 1_000} s`)), LOOKUP_MS);
  return await Promise.race([work, limit.promise]).finally(() => clearTimeout(timer));
}

/**
 * Connects to a host a run names, to no other addresses than the ones just checked: an answer of the DNS that changes in
 * between changes nothing.
 * @throws EgressRefused, or Error when the host cannot be found or reached in time (10 s and 15 s).
 */
export async function dial(
  policy: EgressPolicy,
  target: { host: string; port: number },
  resolve: Resolve = systemResolve,
): Promise<Socket> {
  const host = normalizeHost(target.host);
  const { port } = target;
  checkName(policy, host, port);
  const family = isIP(host);
  const addresses = family === 0 ? await withinLimit(resolve(host), `looking up ${host}`) : [{ address: host, family }];
  if (addresses.length === 0) throw new Error(`${host} has no address`);
  // All of them: a name must not hide one among others.
  for (const { address } of addresses) checkAddress(policy, { host, port, address });
  return await connected(host, port, addresses);
}

function connected(host: string, port: number, addresses: LookupAddress[]): Promise<Socket> {
  const [first] = addresses;
  const pinned: LookupFunction = (_host, options, done) => {
    if (options.all === true) done(null, addresses);
    else done(null, first?.address ?? '', first?.family ?? 0);
  };
  return new Promise((resolve, reject) => {
    // A name of no meaning: `connect` would not ask the lookup about a literal address.
    const socket = connect({
      host: isIP(host) === 0 ? host : 'literal.invalid',
      port,
      lookup: pinned,
      autoSelectFamily: true,
    });
    const timer = setTimeout(
      () => socket.destroy(new Error(`${host}:${port} did not answer within ${CONNECT_MS / 1_000} s`)),
      CONNECT_MS,
    );
    socket.once('error', (error) => {
      clearTimeout(timer);
      reject(error);
    });
    socket.once('connect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
  });
}
