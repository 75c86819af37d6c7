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
