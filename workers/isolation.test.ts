import { describe, expect, it } from 'vitest';
import { loadConfig } from '#core/config.ts';
import { isolationWords } from '#core/engine/isolation.ts';
import { isolationProblem, runLimits, runNetwork, servedTenants } from './isolation.ts';

const config = (env: Record<string, string>) => loadConfig({ PLUMBLINE_NETWORK: 'filtered', ...env });
const NOWHERE = 'file:///state';

describe('a worker', () => {
  it.each([
    ['one tenant, its own network', { PLUMBLINE_NETWORK: 'host' }, undefined],
    ['one tenant, plain processes', { PLUMBLINE_NETWORK: 'host', PLUMBLINE_ISOLATION: 'none' }, undefined],
    ['two tenants, all namespaces', { PLUMBLINE_WORKER_TENANT: 'shop, bank' }, undefined],
    ['one tenant twice', { PLUMBLINE_NETWORK: 'host', PLUMBLINE_WORKER_TENANT: 'shop,shop,' }, undefined],
    [
      'two tenants on one network',
      { PLUMBLINE_WORKER_TENANT: 'shop,bank', PLUMBLINE_NETWORK: 'host' },
      /names 2 tenants, whose programs could reach each other; set .*PLUMBLINE_NETWORK=filtered, or start one worker/,
    ],
    [
      'two tenants, plain processes',
      { PLUMBLINE_WORKER_TENANT: 'shop,bank', PLUMBLINE_NETWORK: 'host', PLUMBLINE_ISOLATION: 'none' },
      /names 2 tenants/,
    ],
    ['plain processes, a filtered network', { PLUMBLINE_ISOLATION: 'none' }, /needs namespaces/],
    ['no tenant', { PLUMBLINE_WORKER_TENANT: ' , ' }, /names no tenant/],
    [
      'a rule that cannot be read',
      { PLUMBLINE_EGRESS_ALLOW: 'a.example,https://b.example' },
      /PLUMBLINE_EGRESS_ALLOW: .*https:\/\/b\.example/,
    ],
  ])('with %s', (_, env, problem) => {
    const said = isolationProblem(config(env));
    if (problem === undefined) expect(said).toBeUndefined();
    else expect(said).toMatch(problem);
  });

  it('serves each tenant of the list once', () => {
    expect(servedTenants({ PLUMBLINE_WORKER_TENANT: ' shop,bank, shop' })).toEqual(['shop', 'bank']);
  });
});

describe('the network of a run', () => {
  it("is the worker's own where nothing is filtered, whatever the specs say", () => {
    const spec = { network: { egress: ['10.0.0.1'], metadata: true } };
    expect(runNetwork(config({ PLUMBLINE_NETWORK: 'host' }), {}, spec, 'postgres://db/x')).toEqual({
      mode: 'host',
      egress: [],
      metadata: false,
    });
  });

  it('reaches what the installation, the tenant and the stack name', () => {
    const network = runNetwork(
      config({ PLUMBLINE_EGRESS_ALLOW: '*.amazonaws.com, 10.0.0.0/8:443' }),
      { network: { egress: ['tcp://db.example:5432'] } },
      { network: { egress: ['api.example', '10.1.1.1:443'] } },
      'postgres://plumb@db.example/state',
    );
    expect(network).toEqual({
      mode: 'filtered',
      egress: ['*.amazonaws.com', '10.0.0.0/8:443', 'tcp://db.example:5432', 'api.example', '10.1.1.1:443'],
      metadata: false,
    });
  });

  it.each([
    [
      'a rule that cannot be read',
      { egress: ['https://a'] },
      {},
      NOWHERE,
      /of the Stack: the egress rule "https:\/\/a"/,
    ],
    [
      'a private address',
      { egress: ['10.0.0.1:5432'] },
      {},
      NOWHERE,
      /"10\.0\.0\.1:5432" names addresses that are not public/,
    ],
    [
      'another port of an open address',
      { egress: ['10.0.0.1:22'] },
      { egress: ['10.0.0.1:443'] },
      NOWHERE,
      /not public/,
    ],
    ['a network', { egress: ['0.0.0.0/0'] }, {}, NOWHERE, /not public/],
    ['the loopback', { egress: ['127.0.0.1:5432'] }, {}, NOWHERE, /not public/],
    ['the metadata address', { egress: ['169.254.169.254'] }, {}, NOWHERE, /not public/],
    ['metadata nobody allowed', { metadata: true }, {}, NOWHERE, /the Tenant must allow it first/],
    ['metadata the tenant refuses', { metadata: true }, { metadata: 'refused' as const }, NOWHERE, /must allow it/],
    [
      'a state in a database out of reach',
      {},
      {},
      'postgres://u:pw@db.example/x',
      /at db\.example:5432, .*add "tcp:\/\/db\.example:5432"/,
    ],
    [
      'a state in a database named for the proxy',
      {},
      { egress: ['db.example:5432'] },
      'postgres://db.example/x',
      /add "tcp:/,
    ],
  ])('is refused to a stack that wants %s', (_, own, tenant, backend, message) => {
    const attempt = () => runNetwork(config({}), { network: tenant }, { network: own }, backend);
    expect(attempt).toThrow(
      expect.objectContaining({ kind: 'stalled', reason: 'SpecInvalid', message: expect.stringMatching(message) }),
    );
  });

  it('holds the metadata address where both the stack asks and the tenant allows', () => {
    const network = runNetwork(
      config({}),
      { network: { metadata: 'allowed' } },
      { network: { metadata: true } },
      NOWHERE,
    );
    expect(network.metadata).toBe(true);
  });
});

describe('the limits of a run', () => {
  it.each([
    [{}, 4096, 1024],
    [{ memoryMb: 512, processes: 64 }, 512, 64],
    [{ memoryMb: 1_000_000, processes: 30_000 }, 4096, 1024],
  ])("of %j are never above the worker's", (limits, memoryMb, processes) => {
    expect(runLimits(config({}), { limits })).toEqual({
      memoryBytes: memoryMb * 1024 ** 2,
      processes,
      fileBytes: 2048 * 1024 ** 2,
    });
  });
});

it.each([
  [{ isolation: 'none', network: 'host' }, /^none: .*Lost: .*metadata address.*never proved dead/],
  [
    { isolation: 'namespaces', network: 'host' },
    /^namespaces: .*not the network: .*metadata address of the cloud can be reached/,
  ],
  [{ isolation: 'namespaces', network: 'filtered' }, /^namespaces: .*and network: .*no metadata address$/],
] as const)('what isolation %j is and is not is said in words', (isolation, words) => {
  expect(isolationWords(isolation)).toMatch(words);
});
