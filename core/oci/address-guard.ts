import { lookup as dnsLookup, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

type Subnet = [string, number, 'ipv4' | 'ipv6'];

/** Metadata services of clouds and other link-local addresses: never dialled, whoever names them. */
const METADATA = blockList([
  ['169.254.0.0', 16, 'ipv4'],
  // Alibaba Cloud, Oracle Cloud, Azure
  ['100.100.100.200', 32, 'ipv4'],
  ['192.0.0.192', 32, 'ipv4'],
  ['168.63.129.16', 32, 'ipv4'],
  ['fe80::', 10, 'ipv6'],
  ['fd00:ec2::', 32, 'ipv6'],
]);
/** Addresses a registry must not send us to (IANA special-purpose registries, the parts that are not public). */
const NOT_PUBLIC = blockList([
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['168.63.129.16', 32, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.0.2.0', 24, 'ipv4'],
  ['192.88.99.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['198.51.100.0', 24, 'ipv4'],
  ['203.0.113.0', 24, 'ipv4'],
  ['224.0.0.0', 4, 'ipv4'],
  ['240.0.0.0', 4, 'ipv4'],
  // unspecified, loopback and IPv4-compatible
  ['::', 96, 'ipv6'],
  // IPv4-translated (RFC 2765)
  ['::ffff:0:0:0', 96, 'ipv6'],
  ['100::', 64, 'ipv6'],
  // IETF protocol assignments with Teredo, ORCHID and documentation
  ['2001::', 23, 'ipv6'],
  ['2001:db8::', 32, 'ipv6'],
  ['3fff::', 20, 'ipv6'],
  ['5f00::', 16, 'ipv6'],
  // NAT64 of a network's own choice (RFC 8215)
  ['64:ff9b:1::', 48, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['fec0::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
]);

function blockList(subnets: Subnet[]): BlockList {
  const list = new BlockList();
  for (const [address, prefix, family] of subnets) list.addSubnet(address, prefix, family);
  return list;
}

const LOOPBACK: ReadonlySet<string> = new Set(['127.0.0.1', '[::1]', 'localhost']);

/** Whether plain HTTP may carry a secret to a URL's host: the usual names of this machine. */
export function isLoopbackName(hostname: string): boolean {
  return LOOPBACK.has(hostname);
}

/** Who named a host: `configured` by an operator or a spec; `foreign` by what a registry answered. */
export type Origin = 'configured' | 'foreign';

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  // URL writes every form of an address in one way, `::ffff:10.0.0.1` too.
  const [head = '', tail] = new URL(`http://[${address}]`).hostname.slice(1, -1).split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from({ length: 8 - left.length - right.length }, () => '0');
  return [...left, ...zeros, ...right].map((group) => Number.parseInt(group, 16));
}

function dotted(high = 0, low = 0): string {
  return [high >> 8, high & 255, low >> 8, low & 255].join('.');
}

/** The IPv4 address a packet to this IPv6 address ends at: mapped (RFC 4291), NAT64 (RFC 6052) or 6to4 (RFC 3056). */
function embeddedIPv4(address: string): string | undefined {
  const groups = groupsOf(address);
  const [first, second, third, , , sixth, seventh, eighth] = groups;
  const middleZero = groups.slice(2, 5).every((group) => group === 0);
  const mapped = first === 0 && second === 0 && middleZero && sixth === 0xffff;
  const nat64 = first === 0x64 && second === 0xff9b && middleZero && sixth === 0;
  if (mapped || nat64) return dotted(seventh, eighth);
  return first === 0x2002 ? dotted(second, third) : undefined;
}

/** An address as the machine writes it, and the IPv4 address a packet to it ends at. `address` is one, without a zone. */
export function addressForms(address: string): string[] {
  if (isIP(address) !== 6) return [address];
  const embedded = embeddedIPv4(address);
  return [new URL(`http://[${address}]`).hostname.slice(1, -1), ...(embedded === undefined ? [] : [embedded])];
}

/** Whether an IP address may be dialled. An IPv6 address that leads to an IPv4 address counts as that one too. */
export function isAllowedAddress(address: string, origin: Origin): boolean {
  const [bare = ''] = address.split('%');
  const family = isIP(bare);
  if (family === 0) return false;
  const list = origin === 'foreign' ? NOT_PUBLIC : METADATA;
  if (list.check(bare, family === 6 ? 'ipv6' : 'ipv4')) return false;
  const embedded = family === 6 ? embeddedIPv4(bare) : undefined;
  return embedded === undefined || !list.check(embedded, 'ipv4');
}

/** Whether the host of a URL, where it is an IP literal, may be dialled; names are checked when they are looked up. */
export function isAllowedHost(hostname: string, origin: Origin): boolean {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 || isAllowedAddress(bare, origin);
}

/** A name has an address that may not be dialled. */
export class AddressRefused extends Error {}

/** A DNS lookup that fails when any address of the name may not be dialled, so a name cannot hide one. */
export function guardedLookup(origin: Origin): LookupFunction {
  return (hostname, options, callback) => {
    const all: LookupOptions & { all: true } = { ...options, all: true };
    dnsLookup(hostname, all, (error, addresses) => {
      const [first] = addresses ?? [];
      if (error !== null || first === undefined)
        return callback(error ?? new Error(`no address for ${hostname}`), '', 0);
      const refused = addresses.find(({ address }) => !isAllowedAddress(address, origin));
      if (refused !== undefined)
        return callback(new AddressRefused(`the address ${refused.address} of ${hostname} is not public`), '', 0);
      if (options.all === true) return callback(null, addresses);
      return callback(null, first.address, first.family);
    });
  };
}
