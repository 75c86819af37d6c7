import { isIP } from 'node:net';
import { classifyAddress, isOneOf, METADATA_NAMES, ownAddresses } from './addresses.ts';
import { mayName, namesAddress, type EgressRule } from './rules.ts';

/** What the runs of a stack may reach. */
export interface EgressPolicy {
  rules: readonly EgressRule[];
  /** The cloud's metadata address, port 80. */
  metadata: boolean;
}

/** A run wanted to go where no rule lets it; the message says what to add, where that can be. */
export class EgressRefused extends Error {
  readonly target: string;

  constructor(target: string, why: string) {
    super(`${target} is refused: ${why}`);
    this.name = 'EgressRefused';
    this.target = target;
  }
}

const METADATA_PORT = 80;

function describe(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

function isMetadata(host: string): boolean {
  return METADATA_NAMES.includes(host) || classifyAddress(host) === 'metadata';
}

const METADATA_ADVICE =
  'it is the metadata address of a cloud, which gives out the credentials of the worker; set spec.network.metadata: true, and let the Tenant allow it';

/**
 * Judges a host by the name a run gives it.
 * @throws EgressRefused when no rule names it.
 */
export function checkName({ rules, metadata }: EgressPolicy, host: string, port: number): void {
  const target = describe(host, port);
  if (isMetadata(host)) {
    if (metadata && port === METADATA_PORT) return;
    throw new EgressRefused(target, METADATA_ADVICE);
  }
  if (mayName(rules, host, port)) return;
  if (classifyAddress(host) === 'never' && isIP(host) !== 0)
    throw new EgressRefused(target, 'no rule can open an address of the worker itself');
  throw new EgressRefused(
    target,
    `it is not on the allow-list; add ${JSON.stringify(target)} to spec.network.egress of the Stack or the Tenant, or to PLUMBLINE_EGRESS_ALLOW`,
  );
}

/**
 * Judges an address a name led to; checked at the moment it is dialled, and dialled exactly as checked.
 * @param own addresses of the worker's machine; ports on them are as good as its loopback.
 * @throws EgressRefused.
 */
export function checkAddress(
  { rules, metadata }: EgressPolicy,
  at: { host: string; port: number; address: string },
  own: ReadonlySet<string> = ownAddresses(),
): void {
  const { host, port, address } = at;
  const target = describe(host, port);
  const leads = host === address ? 'it' : `it leads to ${address}, which`;
  const kind = classifyAddress(address);
  if (kind === 'metadata') {
    if (metadata && port === METADATA_PORT && isMetadata(host)) return;
    throw new EgressRefused(target, host === address ? METADATA_ADVICE : `${leads} is the metadata address of a cloud`);
  }
  if (kind === 'never') throw new EgressRefused(target, `${leads} is an address no rule can open`);
  const named = namesAddress(rules, address, port);
  if (isOneOf(own, address) && named !== 'literal')
    throw new EgressRefused(target, `${leads} is the worker's own; only a rule with the very address opens it`);
  if (kind === 'private' && named === undefined) {
    const add = JSON.stringify(describe(address, port));
    throw new EgressRefused(
      target,
      `${leads} is private; let the Tenant or PLUMBLINE_EGRESS_ALLOW name it (${add}) or its network`,
    );
  }
}
