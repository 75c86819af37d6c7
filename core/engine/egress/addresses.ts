import { BlockList, isIP } from 'node:net';
import { networkInterfaces } from 'node:os';
import { addressForms, isAllowedAddress } from '../../oci/address-guard.ts';

/** Where clouds give out the credentials of the machine: AWS (EC2, ECS, EKS), Google, Azure; Alibaba; Oracle. */
export const METADATA_ADDRESSES = [
  '169.254.169.254', '169.254.170.2', '169.254.170.23', '100.100.100.200', '192.0.0.192', 'fd00:ec2::254', 'fd00:ec2::23',
] as const; // prettier-ignore

/** Names by which programs ask for it; the worker's resolver would lead there too. */
export const METADATA_NAMES: readonly string[] = ['metadata.google.internal', 'metadata'];

/**
 * `metadata`: only with a grant. `private`: only where a rule names the address or its network. `never`: the worker's own
 * loopback, link-local, multicast, and IPv6 forms that lead to such an IPv4 address.
 */
export type AddressClass = 'public' | 'private' | 'metadata' | 'never';

type Family = 'ipv4' | 'ipv6';

/** What a `BlockList` calls the kind of an address. */
export function familyOf(address: string): Family {
  return isIP(address) === 6 ? 'ipv6' : 'ipv4';
}

/** A list a family: one of both takes every IPv4 address for its mapped form. */
function listsOf(networks: readonly (readonly [string, number])[]): Record<Family, BlockList> {
  const lists = { ipv4: new BlockList(), ipv6: new BlockList() };
  for (const [network, prefix] of networks) lists[familyOf(network)].addSubnet(network, prefix, familyOf(network));
  return lists;
}

const METADATA = listsOf(METADATA_ADDRESSES.map((address) => [address, address.includes(':') ? 128 : 32]));

const NEVER = listsOf([
  ['0.0.0.0', 8],
  ['127.0.0.0', 8],
  ['169.254.0.0', 16],
  ['100.100.100.200', 32],
  ['192.0.0.192', 32],
  ['168.63.129.16', 32],
  ['224.0.0.0', 4],
  ['240.0.0.0', 4],
  ['::', 96],
  // Forms that lead to an IPv4 address: mapped, NAT64, Teredo, 6to4.
  ['::ffff:0:0', 96],
  ['::ffff:0:0:0', 96],
  ['64:ff9b::', 96],
  ['64:ff9b:1::', 48],
  ['2001::', 32],
  ['2002::', 16],
  ['fd00:ec2::', 32],
  ['fe80::', 10],
  ['fec0::', 10],
  ['ff00::', 8],
]);

/** What an IP address is to a run; anything that is no address is `never`. */
export function classifyAddress(address: string): AddressClass {
  if (isIP(address) === 0 || address.includes('%')) return 'never';
  const family = familyOf(address);
  if (METADATA[family].check(address, family)) return 'metadata';
  if (isAllowedAddress(address, 'foreign')) return 'public';
  return NEVER[family].check(address, family) ? 'never' : 'private';
}

/** Addresses of this machine. */
export function ownAddresses(): Set<string> {
  return new Set(
    Object.values(networkInterfaces()).flatMap((addresses) => (addresses ?? []).map(({ address }) => address)),
  );
}

/** Whether an address, however it is written, leads to one of these. */
export function isOneOf(addresses: ReadonlySet<string>, address: string): boolean {
  return addressForms(address).some((form) => addresses.has(form));
}
