import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ReconcileError } from './errors.ts';
import {
  apiHost,
  formatRepository,
  formatRevision,
  isDigest,
  isTag,
  parseReference,
  parseRepository,
} from './reference.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('parseRepository', () => {
  it.each([
    ['oci://registry.example.com/infra/shop', 'registry.example.com', 'infra/shop'],
    ['oci://127.0.0.1:5000/shop', '127.0.0.1:5000', 'shop'],
    ['oci://localhost/a/b/c', 'localhost', 'a/b/c'],
    ['oci://Registry.Example.com/shop', 'registry.example.com', 'shop'],
    ['oci://[::1]:5000/shop', '[::1]:5000', 'shop'],
    ['oci://r.io/a__b/c--d.e_f', 'r.io', 'a__b/c--d.e_f'],
    ['oci://docker.io/nginx', 'docker.io', 'library/nginx'],
    ['oci://index.docker.io/acme/shop', 'docker.io', 'acme/shop'],
    ['oci://registry-1.docker.io/nginx', 'docker.io', 'library/nginx'],
  ])('reads %s', (text, host, name) => {
    expect(parseRepository(text)).toEqual({ host, name });
  });

  it.each([
    ['', 'oci://'],
    ['https://r.io/a', 'oci://'],
    ['oci://r.io', 'name is missing'],
    ['oci://r.io/', 'name takes'],
    ['oci:///a', 'host'],
    ['oci://r.io:0/a', 'host'],
    ['oci://r.io:65536/a', 'host'],
    ['oci://r.io:80:90/a', 'host'],
    ['oci://[::1/a', 'host'],
    ['oci://[1.2.3.4]/a', 'host'],
    ['oci://[::1]x/a', 'host'],
    ['oci://user:pass@r.io/a', 'digest'],
    ['oci://-r.io/a', 'host'],
    ['oci://r.io/A', 'lower-case'],
    ['oci://r.io/a//b', 'name'],
    ['oci://r.io/../b', 'name'],
    ['oci://r.io/a?x=1', 'name'],
    ['oci://r.io/a#x', 'name'],
    ['oci://r.io/a b', 'name'],
    ['oci://r.io/a___b', 'name'],
    ['oci://r.io/a:1', 'spec.source.ref'],
    [`oci://r.io/a@${DIGEST}`, 'spec.source.ref'],
    ['oci://r.io/a@sha256:abc', 'digest'],
    [`oci://r.io/${'a'.repeat(300)}`, '255'],
    [`oci://r.io/${'a'.repeat(600)}`, '512'],
  ])('refuses %s, saying %s', (text, part) => {
    expect(() => parseRepository(text)).toThrow(part);
    expect(() => parseRepository(text)).toThrow(
      expect.objectContaining({ kind: 'stalled', reason: 'InvalidReference' }),
    );
  });

  it('answers any text with a repository that formats back, or a ReconcileError', () => {
    const pieces = fc.array(
      fc.constantFrom('oci://', 'r.io', ':', '/', '@', 'a', '.', '-', '_', '[', ']', '5', '\0', 'é'),
    );
    const texts = fc.oneof(
      fc.string(),
      pieces.map((list) => `oci://${list.join('')}`),
    );
    fc.assert(
      fc.property(texts, (text) => {
        try {
          const repository = parseRepository(text);
          expect(parseRepository(formatRepository(repository))).toEqual(repository);
          expect(new URL(`https://${apiHost(repository.host)}/v2/${repository.name}/`).pathname).toBe(
            `/v2/${repository.name}/`,
          );
        } catch (error) {
          if (!(error instanceof ReconcileError)) throw error;
        }
      }),
      { numRuns: 2000 },
    );
  });
});

describe('parseReference', () => {
  it('reads tag and digest', () => {
    expect(parseReference(`oci://r.io:5000/a/b:v1@${DIGEST}`)).toEqual({
      repository: { host: 'r.io:5000', name: 'a/b' },
      tag: 'v1',
      digest: DIGEST,
    });
  });
});

describe('formatRevision', () => {
  it.each([
    ['v1', `v1@${DIGEST}`],
    [undefined, DIGEST],
    [DIGEST, DIGEST],
  ])('writes %s as %s', (tag, revision) => {
    expect(formatRevision(tag, DIGEST)).toBe(revision);
  });
});

describe('isTag and isDigest', () => {
  it.each([
    ['v1.2.3', true, false],
    ['_x', true, false],
    ['.x', false, false],
    ['a'.repeat(128), true, false],
    ['a'.repeat(129), false, false],
    ['', false, false],
    [DIGEST, false, true],
    [`sha512:${'b'.repeat(128)}`, false, true],
    [`sha256:${'A'.repeat(64)}`, false, false],
    [`md5:${'a'.repeat(32)}`, false, false],
    [`${DIGEST}\n`, false, false],
  ])('%s: tag %s, digest %s', (text, tag, digest) => {
    expect(isTag(text)).toBe(tag);
    expect(isDigest(text)).toBe(digest);
  });
});
