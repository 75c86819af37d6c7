import { describe, expect, it } from 'vitest';
import { isRepositoryName, isTag, parseDigest } from './names.ts';
import { parseRoute } from './route.ts';

const sha256 = `sha256:${'a'.repeat(64)}`;
const sha512 = `sha512:${'0'.repeat(128)}`;

describe('a repository name', () => {
  it.each(['a', 'a/b', 'a0/b_c/d__e/f-g/h--i/j.k', 'tags/list', 'blobs/uploads', 'a'.repeat(255)])(
    'may be %s',
    (name) => {
      expect(isRepositoryName(name)).toBe(true);
    },
  );
  it.each([
    '',
    '.',
    '..',
    '../a',
    'a/..',
    'a/../b',
    '/a',
    'a/',
    'a//b',
    'A',
    'a_',
    '_a',
    'a/_tags',
    'a___b',
    'a..b',
    '.a',
    'a b',
    'a\\b',
    'a\0',
    'a\n',
    'ä',
    'a%2fb',
    'a'.repeat(256),
  ])('may not be %j', (name) => {
    expect(isRepositoryName(name)).toBe(false);
  });
  it('is judged at once even when it is made to be slow', () => {
    const start = performance.now();
    expect(isRepositoryName(`${'a-'.repeat(127)}!`)).toBe(false);
    expect(performance.now() - start).toBeLessThan(100);
  });
});

it.each([
  ['latest', true],
  ['_1.2-3', true],
  ['A'.repeat(128), true],
  ['A'.repeat(129), false],
  ['.', false],
  ['..', false],
  ['-a', false],
  ['a/b', false],
  ['a:b', false],
  ['a\n', false],
  ['', false],
])('whether %j is a tag: %s', (tag, expected) => {
  expect(isTag(tag)).toBe(expected);
});

it.each([
  [sha256, true],
  [sha512, true],
  [sha256.toUpperCase(), false],
  [`sha256:${'A'.repeat(64)}`, false],
  [`sha256:${'a'.repeat(63)}`, false],
  [`sha512:${'a'.repeat(64)}`, false],
  [`md5:${'a'.repeat(32)}`, false],
  [`sha256:${'a'.repeat(61)}/..`, false],
  [`${sha256}\n`, false],
  ['sha256:', false],
  ['', false],
])('whether %j is a digest: %s', (text, expected) => {
  expect(parseDigest(text) !== undefined).toBe(expected);
});

describe('a path', () => {
  it.each([
    ['/v2/', { kind: 'base' }],
    ['/v2', { kind: 'base' }],
    ['/v2/a/b/tags/list', { kind: 'tags', name: 'a/b' }],
    ['/v2/a/manifests/v1', { kind: 'manifest', name: 'a', reference: { tag: 'v1' } }],
    ['/v2/a/blobs/uploads/', { kind: 'uploads', name: 'a' }],
    ['/v2/a/blobs/uploads', { kind: 'uploads', name: 'a' }],
    ['/v2/a/blobs/uploads/x', { kind: 'upload', name: 'a', id: 'x' }],
    [
      '/v2/blobs/uploads/manifests/manifests/v1',
      { kind: 'manifest', name: 'blobs/uploads/manifests', reference: { tag: 'v1' } },
    ],
  ])('%s is understood', (path, expected) => {
    expect(parseRoute(path)).toEqual(expected);
  });

  it.each([sha256, sha256.replace(':', '%3A')])('may name a digest as %s', (digest) => {
    expect(parseRoute(`/v2/a/blobs/${digest}`)).toMatchObject({ kind: 'blob', digest: { text: sha256 } });
    expect(parseRoute(`/v2/a/referrers/${digest}`)).toMatchObject({ kind: 'referrers', digest: { text: sha256 } });
    expect(parseRoute(`/v2/a/manifests/${digest}`)).toMatchObject({ reference: { digest: { text: sha256 } } });
  });

  it.each([
    '/',
    '/v1/',
    '/v2/a',
    '/v2/_catalog',
    '/v2/a/tags',
    '/v2/a/tags/list/x',
    '/v2/manifests/v1',
    '/v3/a/manifests/v1',
  ])('%s is no endpoint', (path) => {
    expect(parseRoute(path)).toBeUndefined();
  });

  it.each([
    ['/v2/../etc/manifests/v1', 'NAME_INVALID'],
    ['/v2/a/../../b/tags/list', 'NAME_INVALID'],
    ['/v2/a/_tags/blobs/uploads/', 'NAME_INVALID'],
    ['/v2/A/tags/list', 'NAME_INVALID'],
    ['/v2/a%2f..%2fb/tags/list', 'NAME_INVALID'],
    ['/v2/a/manifests/..', 'MANIFEST_INVALID'],
    ['/v2/a/manifests/..%2f..%2fetc', 'MANIFEST_INVALID'],
    ['/v2/a/manifests/%zz', 'MANIFEST_INVALID'],
    ['/v2/a/manifests/', 'MANIFEST_INVALID'],
    ['/v2/a/manifests/sha256:bad', 'DIGEST_INVALID'],
    ['/v2/a/blobs/sha256:..%2f..%2fx', 'DIGEST_INVALID'],
    ['/v2/a/referrers/latest', 'DIGEST_INVALID'],
  ])('%s is refused with %s', (path, code) => {
    expect(() => parseRoute(path)).toThrow(expect.objectContaining({ code }));
  });
});
