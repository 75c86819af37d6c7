import { beforeAll, describe, expect, it } from 'vitest';
import { verifyAttestation } from './attestation.ts';
import { attestationLayer, keyBundle, makeKeys, NOW, Shelf, statement, trusting } from './cosign.fixture.ts';
import { createSigstore } from './keyless.fixture.ts';
import type { AttestationRequirement } from './verdict.ts';

const SLSA_V1 = 'https://slsa.dev/provenance/v1';
const SLSA_V02 = 'https://slsa.dev/provenance/v0.2';
const VULNERABILITIES = 'https://cosign.sigstore.dev/attestation/vuln/v1';
const SPDX = 'https://spdx.dev/Document';
const STATEMENT_V01 = 'https://in-toto.io/Statement/v0.1';

const COMMIT = 'a'.repeat(40);
const OTHER_COMMIT = 'b'.repeat(40);
const keys = makeKeys();

type Requirement = Omit<AttestationRequirement, 'signedBy'>;
type Said = [predicateType: string, predicate: unknown];

/** The verdict on an artifact about which our key has stated all that. */
async function judge(requirement: Requirement, ...said: Said[]) {
  const shelf = new Shelf();
  const digest = shelf.artifact();
  for (const [predicateType, predicate] of said) {
    shelf.attach(digest, keyBundle(statement({ digest, predicateType, predicate }), keys.privateKey));
  }
  return verifyAttestation(shelf.context(digest), { ...requirement, signedBy: trusting(keys.pem) });
}

const GITHUB = {
  buildDefinition: {
    buildType: 'https://actions.github.io/buildtypes/workflow/v1',
    externalParameters: {
      workflow: { ref: 'refs/heads/main', repository: 'https://github.com/acme/shop', path: '.github/workflows/x.yml' },
    },
    resolvedDependencies: [{ uri: 'git+https://github.com/acme/shop@refs/heads/main', digest: { gitCommit: COMMIT } }],
  },
  runDetails: { builder: { id: 'https://github.com/acme/builder/.github/workflows/b.yml@refs/tags/v2' } },
};

function withParameters(externalParameters: unknown) {
  return { ...GITHUB, buildDefinition: { ...GITHUB.buildDefinition, externalParameters } };
}

function withMaterials(resolvedDependencies: unknown) {
  return { ...GITHUB, buildDefinition: { ...GITHUB.buildDefinition, resolvedDependencies } };
}

const OLDER = {
  builder: { id: 'https://github.com/slsa-framework/generator@refs/tags/v1.9.0' },
  buildType: 'https://github.com/slsa-framework/generic@v1',
  invocation: { configSource: { uri: 'git+https://github.com/acme/shop@refs/tags/v1', digest: { sha1: COMMIT } } },
  materials: [{ uri: 'git+https://github.com/acme/shop@refs/tags/v1', digest: { sha1: COMMIT } }],
};

describe('provenance', () => {
  it('is met by a builder, type, source and materials that are allowed', async () => {
    const verdict = await judge(
      {
        type: 'slsa-provenance',
        builders: ['/https://github.com/acme/builder/.*/'],
        buildTypes: ['https://actions.github.io/buildtypes/workflow/v1'],
        sourceRepositories: ['https://github.com/acme/shop'],
        sourceRefs: ['refs/heads/main'],
        materials: ['/git\\+https://github.com/acme/.*/'],
      },
      [SLSA_V1, GITHUB],
    );
    expect(verdict).toMatchObject({
      type: 'verified',
      signers: [
        {
          name: expect.stringMatching(
            /^key release-key \(built by .* from https:\/\/github.com\/acme\/shop at refs\/heads\/main\)$/,
          ),
          statement: SLSA_V1,
        },
      ],
    });
  });

  it('is met by the older version', async () => {
    const requirement: Requirement = {
      type: 'slsa-provenance',
      builders: [OLDER.builder.id],
      sourceRepositories: ['https://github.com/acme/shop'],
      sourceRefs: ['/refs/tags/v.+/'],
    };
    expect((await judge(requirement, [SLSA_V02, OLDER])).type).toBe('verified');
  });

  it.each<[string, unknown]>([
    ['a resource descriptor', { source: { uri: 'git+https://github.com/acme/shop@refs/heads/main' } }],
    ['a text', { source: 'git+https://github.com/acme/shop.git@refs/heads/main' }],
    ['BuildKit', { configSource: { uri: 'https://github.com/acme/shop.git#refs/heads/main' } }],
    ['Cloud Build', { buildConfigSource: { repository: 'git+https://github.com/acme/shop', ref: 'refs/heads/main' } }],
  ])('finds the source in the layout of %s', async (_, parameters) => {
    const requirement: Requirement = {
      type: 'slsa-provenance',
      sourceRepositories: ['https://github.com/acme/shop'],
      sourceRefs: ['refs/heads/main'],
    };
    expect((await judge(requirement, [SLSA_V1, withParameters(parameters)])).type).toBe('verified');
  });

  it.each<[string, Partial<Requirement>, unknown, RegExp]>([
    ['another builder', { builders: ['https://github.com/acme/builder'] }, GITHUB, /builder .* is none/],
    ['a builder that holds an allowed one', { builders: ['/https://github.com/acme/'] }, GITHUB, /builder .* is none/],
    ['no builder', {}, { ...GITHUB, runDetails: {} }, /names no builder/],
    ['another build type', { buildTypes: ['x'] }, GITHUB, /build type .* is none/],
    ['another repository', { sourceRepositories: ['https://github.com/acme/sho'] }, GITHUB, /source repository/],
    ['no source', { sourceRepositories: ['/.*/'] }, withParameters({}), /names no source repository/],
    [
      'two sources of which one is another',
      { sourceRepositories: ['https://github.com/acme/shop'] },
      withParameters({ source: 'https://github.com/acme/shop', configSource: 'https://evil.example/shop' }),
      /source repository/,
    ],
    [
      'a host in the user part of an address',
      { sourceRepositories: ['https://github.com/acme/shop', 'https://github.com'] },
      withParameters({ source: 'git+https://github.com@evil.example/acme/shop' }),
      /source repository/,
    ],
    ['another ref', { sourceRefs: ['refs/heads/mai'] }, GITHUB, /source ref/],
    ['a material from elsewhere', { materials: ['git+https://github.com/acme/other'] }, GITHUB, /material/],
    [
      'a material without a digest',
      { materials: ['/.*/'] },
      withMaterials([{ uri: 'https://x.example/y', digest: {} }]),
      /has no digest/,
    ],
    ['no materials', { materials: ['/.*/'] }, withMaterials([]), /nothing that went into/],
    ['a list where an object should be', {}, [], /names no builder/],
  ])('is refused for %s', async (_, requirement, predicate, message) => {
    const verdict = await judge({ type: 'slsa-provenance', ...requirement }, [SLSA_V1, predicate]);
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(message) });
  });

  it('is enough when one of several is as required', async () => {
    const other = { ...GITHUB, runDetails: { builder: { id: 'https://evil.example' } } };
    const requirement: Requirement = { type: 'slsa-provenance', builders: [GITHUB.runDetails.builder.id] };
    expect((await judge(requirement, [SLSA_V1, other], [SLSA_V1, GITHUB])).type).toBe('verified');
  });
});

describe('provenance by an identity', () => {
  const SUBJECT = 'https://github.com/acme/shop/.github/workflows/release.yml@refs/tags/v1';
  const OID = { repository: '1.3.6.1.4.1.57264.1.12', commit: '1.3.6.1.4.1.57264.1.13', ref: '1.3.6.1.4.1.57264.1.14' };
  const SEEN = { [OID.repository]: 'https://github.com/acme/shop', [OID.commit]: COMMIT, [OID.ref]: 'refs/heads/main' };
  let sigstore: Awaited<ReturnType<typeof createSigstore>>;
  beforeAll(async () => {
    sigstore = await createSigstore();
  });

  it.each<[string, Record<string, string>, string]>([
    ['agrees with the certificate', SEEN, 'verified'],
    [
      'names another repository than the certificate',
      { ...SEEN, [OID.repository]: 'https://github.com/evil/x' },
      'refused',
    ],
    ['names another ref than the certificate', { ...SEEN, [OID.ref]: 'refs/heads/wip' }, 'refused'],
    ['names another commit than the certificate', { ...SEEN, [OID.commit]: OTHER_COMMIT }, 'refused'],
    ['has a certificate that says nothing of a source', {}, 'verified'],
  ])('%s', async (_, extensions, type) => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const content = statement({ digest, predicateType: SLSA_V1, predicate: GITHUB });
    shelf.attach(digest, await sigstore.bundle(content, { extensions }));
    const identities = [{ subject: SUBJECT, issuer: 'https://token.actions.githubusercontent.com' }];
    const verdict = await verifyAttestation(shelf.context(digest), {
      type: 'slsa-provenance',
      sourceRepositories: ['https://github.com/acme/shop'],
      sourceRefs: ['refs/heads/main'],
      signedBy: trusting(undefined, { identities, trustedRoot: sigstore.root }),
    });
    expect(verdict).toMatchObject({ type });
  });
});

describe('a bill of materials', () => {
  const BOM = { bomFormat: 'CycloneDX', components: [{ name: 'a' }] };
  it.each<[string, string, unknown]>([
    ['SPDX', SPDX, { spdxVersion: 'SPDX-2.3', packages: [{ name: 'a' }] }],
    ['SPDX with its version', `${SPDX}/v2.3`, { spdxVersion: 'SPDX-2.3', packages: [{ name: 'a' }] }],
    ['SPDX as text', SPDX, 'SPDXVersion: SPDX-2.3\nPackageName: a\n'],
    ['SPDX 3', SPDX, { '@context': 'x', '@graph': [{ type: 'software_Package' }] }],
    ['CycloneDX', 'https://cyclonedx.org/bom', BOM],
    ['CycloneDX as older cosign kept it', 'https://cyclonedx.org/bom', { Data: BOM, Timestamp: '' }],
    ['JSON in a text', 'https://cyclonedx.org/bom', JSON.stringify(BOM)],
  ])('may be %s', async (_, predicateType, predicate) => {
    expect((await judge({ type: 'sbom' }, [predicateType, predicate])).type).toBe('verified');
  });

  it.each<[string, string, unknown]>([
    ['no package', SPDX, { spdxVersion: 'SPDX-2.3', packages: [] }],
    ['no format', SPDX, { packages: [{ name: 'a' }] }],
    ['nothing', SPDX, null],
    ['a word', SPDX, 'PackageName: a'],
  ])('is refused with %s', async (_, predicateType, predicate) => {
    expect((await judge({ type: 'sbom' }, [predicateType, predicate])).type).toBe('refused');
  });

  it('is not what only begins like one', async () => {
    const predicate = { spdxVersion: 'SPDX-2.3', packages: [{ name: 'a' }] };
    expect((await judge({ type: 'sbom' }, [`${SPDX}ation`, predicate])).type).toBe('missing');
  });
});

function scan(result: unknown, scanFinishedOn = '2026-05-01T00:00:00Z') {
  return { invocation: {}, scanner: { uri: 'x', result }, metadata: { scanFinishedOn } };
}
function trivy(...severities: string[]) {
  const Vulnerabilities = severities.map((Severity, index) => ({ VulnerabilityID: `CVE-2026-${index}`, Severity }));
  return { SchemaVersion: 2, Results: [{ Target: 'a' }, { Target: 'b', Vulnerabilities }] };
}
function grype(...severities: string[]) {
  return {
    descriptor: { name: 'grype' },
    matches: severities.map((severity) => ({ vulnerability: { id: 'CVE-1', severity } })),
  };
}

describe('a vulnerability scan', () => {
  it.each<[Requirement['maxSeverity'], unknown, string]>([
    [undefined, trivy('HIGH', 'LOW'), 'verified'],
    [undefined, trivy('CRITICAL'), 'refused'],
    ['medium', trivy('HIGH'), 'refused'],
    ['medium', trivy('MEDIUM', 'LOW'), 'verified'],
    ['none', trivy(), 'verified'],
    ['none', trivy('LOW'), 'refused'],
    ['high', trivy('UNKNOWN'), 'refused'],
    ['high', grype('High', 'Negligible'), 'verified'],
    ['high', grype('Critical'), 'refused'],
    ['low', grype('Negligible'), 'verified'],
  ])('with at most %s allowed and %j is %s', async (maxSeverity, result, type) => {
    const requirement: Requirement = { type: 'vulnerabilities', ...(maxSeverity === undefined ? {} : { maxSeverity }) };
    expect(await judge(requirement, [VULNERABILITIES, scan(result)])).toMatchObject({ type });
  });

  it.each<[string, unknown]>([
    ['nothing', undefined],
    ['a text', 'no vulnerabilities'],
    ['a list of nothing', []],
    ['no targets', { SchemaVersion: 2 }],
    ['a scanner nobody knows', { issues: [] }],
    ['a list of findings that is none', { Results: [{ Target: 'a', Vulnerabilities: 'none' }] }],
    ['matches without a scanner', { matches: [] }],
  ])('is refused when its result is %s', async (_, result) => {
    const verdict = await judge({ type: 'vulnerabilities' }, [VULNERABILITIES, scan(result)]);
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/scan result/) });
  });

  it('counts by the newest: an old clean one does not hide what was found since, and a new clean one mends it', async () => {
    const bad = (time: string): Said => [VULNERABILITIES, scan(trivy('CRITICAL'), time)];
    const good = (time: string): Said => [VULNERABILITIES, scan(trivy(), time)];
    const requirement: Requirement = { type: 'vulnerabilities' };
    expect((await judge(requirement, good('2026-01-01T00:00:00Z'), bad('2026-02-01T00:00:00Z'))).type).toBe('refused');
    expect((await judge(requirement, bad('2026-01-01T00:00:00Z'), good('2026-02-01T00:00:00Z'))).type).toBe('verified');
    expect((await judge(requirement, bad('0001-01-01T00:00:00Z'), good('2026-02-01T00:00:00Z'))).type).toBe('refused');
  });

  it('is looked at again after an hour', async () => {
    const verdict = await judge({ type: 'vulnerabilities' }, [VULNERABILITIES, scan(trivy())]);
    const validUntil = new Date(NOW.getTime() + 3_600_000);
    expect(verdict).toMatchObject({ signers: [{ name: 'key release-key (no vulnerability above high)', validUntil }] });
  });

  it('is not believed when more is attached than is looked at', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const content = statement({ digest, predicateType: VULNERABILITIES, predicate: scan(trivy()) });
    const annotations = { 'dev.sigstore.bundle.predicateType': VULNERABILITIES };
    shelf.attach(digest, keyBundle(content, keys.privateKey), { annotations });
    shelf.dangle(digest, 60);
    const verdict = await verifyAttestation(shelf.context(digest), {
      type: 'vulnerabilities',
      signedBy: trusting(keys.pem),
    });
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/newer scan may be/) });
  });
});

/** A verdict on scans of which the first is clean and the last is not. */
async function judgeScans(attach: (shelf: Shelf, digest: string, good: unknown, bad: unknown) => void) {
  const shelf = new Shelf();
  const digest = shelf.artifact();
  const stated = (predicate: unknown) => statement({ digest, predicateType: VULNERABILITIES, predicate });
  const bad = { ...scan(trivy('CRITICAL'), '2026-05-02T00:00:00Z'), padding: 'x'.repeat(1024 * 1024) };
  attach(shelf, digest, stated(scan(trivy())), stated(bad));
  return await verifyAttestation(shelf.context(digest), { type: 'vulnerabilities', signedBy: trusting(keys.pem) });
}

describe('a newer scan that is not read', () => {
  it('because of its size leaves an older clean one without belief', async () => {
    const verdict = await judgeScans((shelf, digest, good, bad) => {
      for (const content of [good, bad]) shelf.attach(digest, keyBundle(content, keys.privateKey));
    });
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/newer scan may be/) });
  });

  it('because of its size in the legacy format does so too', async () => {
    const verdict = await judgeScans((shelf, digest, good, bad) => {
      shelf.legacy(
        digest,
        [good, bad].map((content) => attestationLayer(content, keys.privateKey)),
        'att',
      );
    });
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/newer scan may be/) });
  });

  it('because 50 legacy ones come before it does so too', async () => {
    const verdict = await judgeScans((shelf, digest, good, bad) => {
      const clean = attestationLayer(good, keys.privateKey);
      shelf.legacy(digest, [...Array.from({ length: 50 }, () => clean), attestationLayer(bad, keys.privateKey)], 'att');
    });
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/newer scan may be/) });
  });

  it('is none when it says that it is something else, however large', async () => {
    const verdict = await judgeScans((shelf, digest, good, bad) => {
      shelf.attach(digest, keyBundle(good, keys.privateKey));
      const annotations = { 'dev.sigstore.bundle.predicateType': SPDX };
      shelf.attach(digest, keyBundle(bad, keys.privateKey), { annotations });
      const legacy = attestationLayer(bad, keys.privateKey);
      shelf.legacy(digest, [{ ...legacy, annotations: { predicateType: SPDX } }], 'att');
    });
    expect(verdict.type).toBe('verified');
  });
});

describe('a custom attestation', () => {
  const TYPE = 'https://acme.example/review/v1';
  const SAID = { approved: true, by: { team: 'sre' }, score: 9, tags: ['a', 'b'] };

  it.each<[string, Requirement['fields'], string]>([
    [
      'what is asked for',
      [
        { path: 'approved', equals: true },
        { path: 'by.team', equals: 'sre' },
      ],
      'verified',
    ],
    ['a pattern of the whole', [{ path: 'by.team', equals: '/s.e/' }], 'verified'],
    ['a pattern of a part', [{ path: 'by.team', equals: '/s/' }], 'refused'],
    ['an entry of a list', [{ path: 'tags.1', equals: 'b' }], 'verified'],
    ['another type of the same', [{ path: 'score', equals: '9' }], 'refused'],
    ['a field that is missing', [{ path: 'by.name', equals: 'x' }], 'refused'],
    ['what every object has', [{ path: 'constructor.name', equals: 'Object' }], 'refused'],
    ['nothing', [], 'verified'],
  ])('with %s', async (_, fields, type) => {
    expect(await judge({ type: 'custom', predicateType: TYPE, ...(fields && { fields }) }, [TYPE, SAID])).toMatchObject(
      { type },
    );
  });

  it('is not met by one of another type', async () => {
    const verdict = await judge({ type: 'custom', predicateType: TYPE }, [`${TYPE}beta`, SAID]);
    expect(verdict).toMatchObject({ type: 'missing', message: expect.stringContaining(TYPE) });
  });

  it('needs its type', async () => {
    await expect(judge({ type: 'custom' }, [TYPE, SAID])).rejects.toMatchObject({ reason: 'SpecInvalid' });
  });

  it('reads what cosign keeps as a text', async () => {
    const type = 'https://cosign.sigstore.dev/attestation/v1';
    const requirement: Requirement = {
      type: 'custom',
      predicateType: type,
      fields: [{ path: 'approved', equals: true }],
    };
    const kept = { Data: JSON.stringify(SAID), Timestamp: '2026-01-01T00:00:00Z' };
    expect((await judge(requirement, [type, kept])).type).toBe('verified');
  });
});

describe('any attestation', () => {
  const REQUIREMENT: AttestationRequirement = { type: 'slsa-provenance', signedBy: trusting(keys.pem) };

  it('counts in the legacy format, and in version 0.1 of statements', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const content = statement({ digest, predicateType: SLSA_V02, predicate: OLDER, type: STATEMENT_V01 });
    shelf.legacy(digest, [attestationLayer(content, keys.privateKey)], 'att');
    const verdict = await verifyAttestation(shelf.context(digest), REQUIREMENT);
    expect(verdict).toMatchObject({ type: 'verified', signers: [{ format: 'cosign-legacy' }] });
  });

  it('is missing while nothing is attached', async () => {
    expect(await judge({ type: 'sbom' })).toMatchObject({ type: 'missing' });
  });

  it('is refused when it is about another artifact', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const content = statement({ digest: shelf.artifact('another'), predicateType: SLSA_V1, predicate: GITHUB });
    shelf.attach(digest, keyBundle(content, keys.privateKey));
    const verdict = await verifyAttestation(shelf.context(digest), REQUIREMENT);
    expect(verdict).toMatchObject({ type: 'refused', message: expect.stringMatching(/another artifact/) });
  });

  it('is refused when somebody else says it', async () => {
    const shelf = new Shelf();
    const digest = shelf.artifact();
    const content = statement({ digest, predicateType: SLSA_V1, predicate: GITHUB });
    shelf.attach(digest, keyBundle(content, makeKeys().privateKey));
    expect((await verifyAttestation(shelf.context(digest), REQUIREMENT)).type).toBe('refused');
  });
});
