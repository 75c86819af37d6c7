import { describe, expect, it } from 'vitest';
import { guardedLookup, isAllowedAddress, isAllowedHost, type Origin } from './address-guard.ts';

describe('isAllowedAddress', () => {
  it.each<[string, Origin, boolean]>([
    ['169.254.169.254', 'configured', false],
    ['169.254.169.254', 'foreign', false],
    ['::ffff:169.254.169.254', 'configured', false],
    ['fd00:ec2::254', 'configured', false],
    ['10.0.0.1', 'configured', true],
    ['10.0.0.1', 'foreign', false],
    ['127.0.0.1', 'foreign', false],
    ['::1', 'foreign', false],
    ['::', 'foreign', false],
    ['::ffff:10.0.0.1', 'foreign', false],
    ['0.0.0.0', 'foreign', false],
    ['93.184.216.34', 'foreign', true],
    ['2606:4700::1111', 'foreign', true],
    ['not an address', 'configured', false],
    // IPv4 in other clothes
    ['::ffff:a9fe:a9fe', 'configured', false],
    ['::ffff:93.184.216.34', 'foreign', true],
    ['::10.0.0.1', 'foreign', false],
    ['64:ff9b::10.0.0.1', 'foreign', false],
    ['64:ff9b::169.254.169.254', 'configured', false],
    ['64:ff9b::93.184.216.34', 'foreign', true],
    ['64:ff9b:1::5db8:d822', 'foreign', false],
    ['2002:0a00:0001::1', 'foreign', false],
    ['2002:a9fe:a9fe::', 'configured', false],
    ['2001:0:53aa:64c::1', 'foreign', false],
    // what is not public, and its neighbours
    ['fd12:3456::1', 'foreign', false],
    ['fd12:3456::1', 'configured', true],
    ['fe80::1%eth0', 'configured', false],
    ['fec0::1', 'foreign', false],
    ['ff02::1', 'foreign', false],
    ['2001:db8::1', 'foreign', false],
    ['2001:4860:4860::8888', 'foreign', true],
    ['100.64.0.1', 'foreign', false],
    ['100.128.0.1', 'foreign', true],
    ['172.15.255.255', 'foreign', true],
    ['172.31.255.255', 'foreign', false],
    ['198.19.255.255', 'foreign', false],
    ['255.255.255.255', 'foreign', false],
    // metadata services that are not link-local
    ['100.100.100.200', 'configured', false],
    ['168.63.129.16', 'configured', false],
    ['192.0.0.192', 'configured', false],
  ])('%s, %s: %s', (address, origin, allowed) => {
    expect(isAllowedAddress(address, origin)).toBe(allowed);
  });
});

describe('isAllowedHost', () => {
  it.each<[string, Origin, boolean]>([
    ['registry.example.com', 'foreign', true],
    ['[::1]', 'foreign', false],
    ['127.0.0.1', 'foreign', false],
    ['127.0.0.1', 'configured', true],
  ])('%s, %s: %s', (host, origin, allowed) => {
    expect(isAllowedHost(host, origin)).toBe(allowed);
  });

  it.each([
    'http://2130706433/',
    'http://0x7f000001/',
    'http://0177.0.0.1/',
    'http://127.1/',
    'http://127.0.0.1./',
    'http://0/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:7f00:1]/',
    'http://①②⑦.0.0.1/',
  ])('knows a loopback address however %s writes it', (address) => {
    expect(isAllowedHost(new URL(address).hostname, 'foreign')).toBe(false);
  });
});

describe('guardedLookup', () => {
  it.each<[Origin, boolean]>([
    ['foreign', false],
    ['configured', true],
  ])('of localhost, %s: allowed %s', async (origin, allowed) => {
    const error = await new Promise((resolve) => {
      guardedLookup(origin)('localhost', { all: true }, (failure) => resolve(failure));
    });
    expect(error === null).toBe(allowed);
  });
});
