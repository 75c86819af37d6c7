import { BlockList, isIP } from 'node:net';
import { classifyAddress, familyOf, isOneOf, ownAddresses } from './addresses.ts';

/** Ports of a rule that names none. */
const WEB_PORTS: readonly number[] = [443, 80];

type HostPattern =
  | { type: 'any' }
  | { type: 'name'; name: string }
  | { type: 'below'; suffix: string }
  | { type: 'address'; address: string }
  | { type: 'network'; list: BlockList; family: 'ipv4' | 'ipv6' };

/** One line of an allow-list, understood. */
export interface EgressRule {
  text: string;
  host: HostPattern;
  ports: readonly number[];
  /** `tcp://`: reached by its own name without a proxy, for what does not speak HTTP. */
  direct: boolean;
}

const HOST_NAME = /^(?:[a-z0-9_](?:[a-z0-9_-]{0,62})\.)*[a-z0-9_](?:[a-z0-9_-]{0,62})$/;
/** The C library takes these for an address: `127.1`, `0x7f000001`, `2130706433`. */
const NUMERIC_LAST_LABEL = /(?:^|\.)(?:\d+|0x[0-9a-f]*)$/;
const RULE = /^(?:\[(?<bracketed>[^\]]+)\]|(?<bare>[^[\]]*?))(?::(?<port>\d{1,5}))?$/;

const FORMS =
  'a rule is `host[:port]`, `*.example.com[:port]`, an address, a network as `10.0.0.0/8`, or `tcp://host:port` for what does not speak HTTP';

/** A host as rules and proxies compare it: small letters, no brackets, no final dot. */
export function normalizeHost(host: string): string {
  const bare = host.startsWith('[') && host.endsWith(']') ? host.slice(1, -1) : host;
  return bare.toLowerCase().replace(/\.$/, '');
}

function networkPattern(host: string): HostPattern | undefined {
  const [address = '', bits = ''] = host.split('/');
  const family = isIP(address);
  const prefix = Number(bits);
  if (family === 0 || !/^\d{1,3}$/.test(bits) || prefix > (family === 6 ? 128 : 32)) return undefined;
  const list = new BlockList();
  list.addSubnet(address, prefix, familyOf(address));
  return { type: 'network', list, family: familyOf(address) };
}

function hostPattern(host: string): HostPattern | undefined {
  if (host === '*') return { type: 'any' };
  if (isIP(host) !== 0) return { type: 'address', address: host };
  if (host.includes('/')) return networkPattern(host);
  const below = host.startsWith('*.');
  const name = below ? host.slice(2) : host;
  if (!HOST_NAME.test(name) || NUMERIC_LAST_LABEL.test(name)) return undefined;
  return below ? { type: 'below', suffix: `.${name}` } : { type: 'name', name };
}

/**
 * Reads one rule of an allow-list. Without a port it is for 443 and 80.
 * @throws Error saying what is wrong with it and which forms there are.
 */
export function parseEgressRule(text: string): EgressRule {
  const direct = text.startsWith('tcp://');
  const spec = direct ? text.slice('tcp://'.length) : text;
  // A bare IPv6 address has colons of its own.
  const found: Record<string, string | undefined> | undefined =
    isIP(spec) === 6 ? { bracketed: spec } : RULE.exec(spec)?.groups;
  const host = hostPattern(normalizeHost(found?.['bracketed'] ?? found?.['bare'] ?? ''));
  const port = found?.['port'] === undefined ? undefined : Number(found['port']);
  const wrong = (why: string) => new Error(`the egress rule ${JSON.stringify(text.slice(0, 100))} ${why}: ${FORMS}`);
  if (host === undefined || port === 0 || (port ?? 1) > 65_535) throw wrong('cannot be read');
  if (direct && (port === undefined || (host.type !== 'name' && host.type !== 'address')))
    throw wrong('needs one host and its port');
  return { text, host, ports: port === undefined ? WEB_PORTS : [port], direct };
}

/** @throws Error as `parseEgressRule` does. */
export function parseEgress(texts: readonly string[]): EgressRule[] {
  return texts.map((text) => parseEgressRule(text.trim()));
}

function sameAddress(a: string, b: string): boolean {
  const list = new BlockList();
  list.addAddress(a, familyOf(a));
  return familyOf(a) === familyOf(b) && list.check(b, familyOf(b));
}

function matches(pattern: HostPattern, host: string): boolean {
  switch (pattern.type) {
    case 'any':
      return true;
    case 'name':
      return host === pattern.name;
    case 'below':
      return host.endsWith(pattern.suffix);
    case 'address':
      return isIP(host) !== 0 && sameAddress(pattern.address, host);
    case 'network':
      return isIP(host) !== 0 && familyOf(host) === pattern.family && pattern.list.check(host, pattern.family);
  }
}

/** Whether some rule lets a run speak to `host` as it names it; where the name leads is judged apart. */
export function mayName(rules: readonly EgressRule[], host: string, port: number): boolean {
  return rules.some((rule) => rule.ports.includes(port) && matches(rule.host, host));
}

/** Whether some rule names this very address: `literal`, or a network it lies in: `network`. */
export function namesAddress(
  rules: readonly EgressRule[],
  address: string,
  port: number,
): 'literal' | 'network' | undefined {
  const naming = rules.filter(
    ({ host, ports }) =>
      (host.type === 'address' || host.type === 'network') && ports.includes(port) && matches(host, address),
  );
  if (naming.some(({ host }) => host.type === 'address')) return 'literal';
  return naming.length > 0 ? 'network' : undefined;
}

/** Hosts reached without a proxy. */
export function directTargets(rules: readonly EgressRule[]): { host: string; port: number }[] {
  return rules.flatMap(({ host, ports, direct }) => {
    const name = host.type === 'name' ? host.name : host.type === 'address' ? host.address : undefined;
    return direct && name !== undefined ? ports.map((port) => ({ host: name, port })) : [];
  });
}

/**
 * What is wrong with the rules of a Stack: whoever writes one may name hosts, but addresses that are not public belong to the
 * installation or its neighbours, so the Tenant or the installation must have opened them. So it is with those of the worker.
 */
export function stackRuleProblem(
  own: readonly EgressRule[],
  granted: readonly EgressRule[],
  machine: ReadonlySet<string> = ownAddresses(),
): string | undefined {
  const isOpen = (address: string, ports: readonly number[]) => {
    const named = ports.map((port) => namesAddress(granted, address, port));
    if (isOneOf(machine, address)) return named.every((how) => how === 'literal');
    return classifyAddress(address) === 'public' || !named.includes(undefined);
  };
  for (const { text, host, ports } of own) {
    const isForeign = host.type === 'network' || (host.type === 'address' && !isOpen(host.address, ports));
    if (isForeign)
      return `${JSON.stringify(text)} names addresses that are not public, or the worker's own: only spec.network.egress of the Tenant and PLUMBLINE_EGRESS_ALLOW can open those`;
  }
  return undefined;
}
