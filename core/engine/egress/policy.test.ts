import { describe, expect, it } from 'vitest';
import { classifyAddress } from './addresses.ts';
import { checkAddress, checkName, EgressRefused } from './policy.ts';
import { directTargets, parseEgress, parseEgressRule, stackRuleProblem } from './rules.ts';

const policy = (rules: string[], metadata = false) => ({ rules: parseEgress(rules), metadata });
const OWN = new Set(['192.0.2.2', '203.0.113.9', '93.184.216.40', '2a01:4f8::7']);

describe('a rule of the allow-list', () => {
  it.each([
    ['api.example.com', 'api.example.com', 443, true],
    ['api.example.com', 'api.example.com', 80, true],
    ['api.example.com', 'api.example.com', 8443, false],
    ['api.example.com:8443', 'api.example.com', 8443, true],
    ['api.example.com:8443', 'api.example.com', 443, false],
    ['API.Example.com.', 'api.example.com', 443, true],
    ['example.com', 'api.example.com', 443, false],
    ['*.example.com', 'api.example.com', 443, true],
    ['*.example.com', 'a.b.example.com', 443, true],
    ['*.example.com', 'example.com', 443, false],
    ['*.example.com', 'evil-example.com', 443, false],
    ['*.example.com', 'api.example.com.evil.net', 443, false],
    ['*', 'anything.example', 443, true],
    ['*', 'anything.example', 22, false],
    ['*:22', 'anything.example', 22, true],
    ['10.1.2.3:5432', '10.1.2.3', 5432, true],
    ['10.1.2.3:5432', '10.1.2.4', 5432, false],
    ['10.0.0.0/8:443', '10.200.0.1', 443, true],
    ['10.0.0.0/8:443', '11.0.0.1', 443, false],
    ['fd12::1', 'fd12:0::1', 443, true],
    ['[fd12::1]:6443', 'fd12::1', 6443, true],
    ['[fd12::/16]:6443', 'fd12:5::1', 6443, true],
    ['::/0', '10.0.0.1', 443, false],
    ['tcp://db.example.com:5432', 'db.example.com', 5432, true],
  ])('%s, for %s:%i: %s', (rule, host, port, allowed) => {
    const attempt = () => checkName(policy([rule]), host, port);
    if (allowed) expect(attempt).not.toThrow();
    else expect(attempt).toThrow(EgressRefused);
  });

  it.each([
    '', 'https://example.com', 'example.com/path', 'user@example.com', 'exa mple.com', '*example.com', 'a.*.com', '*.*', 'example.com:0',
    'example.com:70000', 'example.com:https', '10.0.0.0/33', '10.0.0/8', '127.1', '0x7f000001', '2130706433', '0177.0.0.1',
    '[::1', 'tcp://*.example.com:5432', 'tcp://db.example.com', 'tcp://10.0.0.0/8:5432', '-a.example.com', 'a..b',
  ])('%j is refused, and the forms there are named', (rule) => {
    expect(() => parseEgressRule(rule)).toThrow(/egress rule .*a rule is `host\[:port\]`/s);
  }); // prettier-ignore

  it('of a host that is reached without a proxy names its port', () => {
    const rules = parseEgress(['api.example.com', 'tcp://db.example.com:5432', 'tcp://10.1.2.3:6379']);
    expect(directTargets(rules)).toEqual([
      { host: 'db.example.com', port: 5432 },
      { host: '10.1.2.3', port: 6379 },
    ]);
  });
});

describe('an address', () => {
  it.each([
    ['93.184.216.34', 'public'],
    ['2606:4700::1', 'public'],
    ['10.0.0.1', 'private'],
    ['172.16.0.1', 'private'],
    ['192.168.1.1', 'private'],
    ['100.64.0.1', 'private'],
    ['fd12::1', 'private'],
    ['169.254.169.254', 'metadata'],
    ['169.254.170.2', 'metadata'],
    ['169.254.170.23', 'metadata'],
    ['100.100.100.200', 'metadata'],
    ['192.0.0.192', 'metadata'],
    ['fd00:ec2::254', 'metadata'],
    ['FD00:0EC2:0:0:0:0:0:0254', 'metadata'],
    ['127.0.0.1', 'never'],
    ['127.255.0.1', 'never'],
    ['0.0.0.0', 'never'],
    ['169.254.0.1', 'never'],
    ['168.63.129.16', 'never'],
    ['224.0.0.1', 'never'],
    ['255.255.255.255', 'never'],
    ['::', 'never'],
    ['::1', 'never'],
    ['::127.0.0.1', 'never'],
    ['::ffff:127.0.0.1', 'never'],
    ['::ffff:169.254.169.254', 'never'],
    ['::ffff:10.0.0.1', 'never'],
    ['::ffff:0:127.0.0.1', 'never'],
    ['64:ff9b::a9fe:a9fe', 'never'],
    ['2002:7f00:1::', 'never'],
    ['fe80::1', 'never'],
    ['fe80::1%eth0', 'never'],
    ['ff02::1', 'never'],
    ['localhost', 'never'],
  ])('%s is %s', (address, expected) => {
    expect(classifyAddress(address)).toBe(expected);
  });
});

describe('where a name leads', () => {
  it.each([
    ['a public address', ['a.example'], '93.184.216.34', undefined],
    ['a private address', ['a.example'], '10.0.0.1', /leads to 10\.0\.0\.1, which is private; .*"10\.0\.0\.1:443"/],
    ['a private address that a rule names', ['a.example', '10.0.0.1'], '10.0.0.1', undefined],
    ['a private address in a network that a rule names', ['a.example', '10.0.0.0/8'], '10.0.0.1', undefined],
    ['a private address that a rule names for another port', ['a.example', '10.0.0.1:80'], '10.0.0.1', /is private/],
    ['a private address, under a rule for everything', ['*'], '10.0.0.1', /is private/],
    ['an address of the worker', ['a.example'], '203.0.113.9', /the worker's own/],
    ['an address of the worker in an open network', ['a.example', '192.0.2.0/24'], '192.0.2.2', /the worker's own/],
    ['an address of the worker, written another way', ['*'], '2A01:04F8:0::7', /the worker's own/],
    ['an address of the worker in the clothes of IPv6', ['*'], '::ffff:93.184.216.40', /the worker's own/],
    ['an address of the worker behind NAT64', ['*'], '64:ff9b::5db8:d828', /the worker's own/],
    ['an address of the worker that a rule names', ['a.example', '192.0.2.2'], '192.0.2.2', undefined],
    ['the loopback', ['*', '127.0.0.1', '127.0.0.0/8'], '127.0.0.1', /no rule can open/],
    [
      'the metadata address',
      ['*', '169.254.169.254', '169.254.0.0/16'],
      '169.254.169.254',
      /the metadata address of a cloud/,
    ],
    ['a link-local address', ['*', '169.254.0.0/16'], '169.254.7.7', /no rule can open/],
  ])('%s', (_, rules, address, refusal) => {
    const attempt = () => checkAddress(policy(rules), { host: 'a.example', port: 443, address }, OWN);
    if (refusal === undefined) expect(attempt).not.toThrow();
    else expect(attempt).toThrow(refusal);
  });

  it('is the metadata address for nobody but who asks for that', () => {
    const leads = () =>
      checkAddress(policy(['*'], true), { host: 'a.example', port: 80, address: '169.254.169.254' }, OWN);
    expect(leads).toThrow(/leads to 169\.254\.169\.254, which is the metadata address/);
  });
});

describe('the metadata address', () => {
  it.each(['169.254.169.254', 'metadata.google.internal', 'fd00:ec2::254', '169.254.170.2'])(
    '%s is refused whatever the rules say, and open with the grant, on port 80 alone',
    (host) => {
      const refused = () => checkName(policy(['*', host, '169.254.0.0/16']), host, 80);
      expect(refused).toThrow(/gives out the credentials of the worker; set spec\.network\.metadata: true/);
      expect(() => checkName(policy([], true), host, 80)).not.toThrow();
      expect(() => checkName(policy(['*:443'], true), host, 443)).toThrow(EgressRefused);
    },
  );
});

it('a host that is not on the list is refused with the rule to add and where', () => {
  expect(() => checkName(policy(['a.example']), 'b.example', 8443)).toThrow(
    'b.example:8443 is refused: it is not on the allow-list; add "b.example:8443" to spec.network.egress of the Stack or the Tenant, or to PLUMBLINE_EGRESS_ALLOW',
  );
});

describe('a rule of a Stack for one address', () => {
  it.each([
    ['a public one', '93.184.216.34:443', [], undefined],
    ['one of the worker, public or not', '93.184.216.40:5432', [], /the worker's own/],
    ['one of the worker, by IPv6', '[2a01:4f8:0:0::7]:443', [], /the worker's own/],
    ['one of the worker in a network that was opened', '192.0.2.2:443', ['192.0.2.0/24'], /the worker's own/],
    ['one of the worker that was opened', '192.0.2.2:443', ['192.0.2.2'], undefined],
    ['a private one in a network that was opened', '10.0.0.1:443', ['10.0.0.0/8'], undefined],
    ['a private one opened for another port', '10.0.0.1:22', ['10.0.0.0/8'], /not public/],
  ])('%s', (_, rule, granted, problem) => {
    const found = stackRuleProblem(parseEgress([rule]), parseEgress(granted), OWN);
    if (problem === undefined) expect(found).toBeUndefined();
    else expect(found).toMatch(problem);
  });
});
