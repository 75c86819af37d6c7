import { resolve } from 'node:path';
import { describe, expect, it } from 'vitest';
import { parsePlace } from './copy-place.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;

describe('parsePlace', () => {
  it.each([
    ['oci-layout:/srv/x:1.0', { type: 'layout', dir: '/srv/x', tag: '1.0' }],
    ['oci-layout:///srv/x:1.0', { type: 'layout', dir: '/srv/x', tag: '1.0' }],
    ['oci-layout:x', { type: 'layout', dir: resolve('x') }],
    ['oci-layout:./a:b/c', { type: 'layout', dir: resolve('a:b/c') }],
    [`oci-layout:x@${DIGEST}`, { type: 'layout', dir: resolve('x'), digest: DIGEST }],
    [`oci-layout:x:1@${DIGEST}`, { type: 'layout', dir: resolve('x'), tag: '1', digest: DIGEST }],
    ['oci://a.example/b:1', { type: 'registry', repository: { host: 'a.example', name: 'b' }, tag: '1' }],
  ])('reads %s', (text, place) => {
    expect(parsePlace(text)).toMatchObject(place);
  });

  it.each(['oci-layout:', 'oci-layout://', 'oci-layout:x@sha256:0', 'oci-layout:x:-', '/srv/x', 'a.example/b:1'])(
    'refuses %s',
    (text) => {
      expect(() => parsePlace(text)).toThrow(/names no folder|no sha256|is not valid|no repository/);
    },
  );
});
