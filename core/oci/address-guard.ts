import { lookup as dnsLookup, type LookupOptions } from 'node:dns';
import { BlockList, isIP, type LookupFunction } from 'node:net';

/** Cloud metadata and other link-local addresses: never dialled, whoever names them. */
const LINK_LOCAL = blockList([
  ['169.254.0.0', 16, 'ipv4'],
  ['fe80::', 10, 'ipv6'],
  ['fd00:ec2::', 32, 'ipv6'],
  ['64:ff9b::a9fe:0', 112, 'ipv6'],
]);
/** Addresses a registry must not send us to (IANA special-purpose registries, the parts that are not public). */
const NOT_PUBLIC = blockList([
  ['0.0.0.0', 8, 'ipv4'],
  ['10.0.0.0', 8, 'ipv4'],
  ['100.64.0.0', 10, 'ipv4'],
  ['127.0.0.0', 8, 'ipv4'],
  ['169.254.0.0', 16, 'ipv4'],
  ['172.16.0.0', 12, 'ipv4'],
  ['192.0.0.0', 24, 'ipv4'],
  ['192.168.0.0', 16, 'ipv4'],
  ['198.18.0.0', 15, 'ipv4'],
  ['224.0.0.0', 4, 'ipv4'],
  ['240.0.0.0', 4, 'ipv4'],
  ['::', 127, 'ipv6'],
  ['64:ff9b::a9fe:0', 112, 'ipv6'],
  ['fc00::', 7, 'ipv6'],
  ['fe80::', 10, 'ipv6'],
  ['ff00::', 8, 'ipv6'],
]);

function blockList(subnets: Array<[string, number, 'ipv4' | 'ipv6']>): BlockList {
  const list = new BlockList();
  for (const [address, prefix, family] of subnets) list.addSubnet(address, prefix, family);
  return list;
}

/** Who named a host: `configured` by an operator or a spec; `foreign` by what a registry answered. */
export type Origin = 'configured' | 'foreign';

/** Whether an IP address may be dialled. IPv4 inside IPv6 (`::ffff:`) counts as the IPv4 address. */
export function isAllowedAddress(address: string, origin: Origin): boolean {
  const family = isIP(address);
  if (family === 0) return false;
  const list = origin === 'foreign' ? NOT_PUBLIC : LINK_LOCAL;
  return !list.check(address, family === 6 ? 'ipv6' : 'ipv4');
}

/** Whether the host of a URL, where it is an IP literal, may be dialled; names are checked when they are looked up. */
export function isAllowedHost(hostname: string, origin: Origin): boolean {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return isIP(bare) === 0 || isAllowedAddress(bare, origin);
}

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
        return callback(new Error(`address ${refused.address} of ${hostname} is not public`), '', 0);
      if (options.all === true) return callback(null, addresses);
      return callback(null, first.address, first.family);
    });
  };
}
