import { createHmac } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { genericHmac } from './generic-hmac.ts';

const sign = (body: string, algorithm: string, secret = 's3cret') =>
  `${algorithm}=${createHmac(algorithm, secret).update(body).digest('hex')}`;

function send(body: string, signature: string | undefined, type = 'application/json') {
  return genericHmac({ raw: Buffer.from(body), headers: { 'x-signature': signature, 'content-type': type } }, 's3cret');
}

const body = '{ "repository": "infra/shop", "tag": "prod" }';

describe('generic-hmac', () => {
  it.each(['sha256', 'sha512'])('takes %s over the raw bytes', (algorithm) => {
    expect(send(body, sign(body, algorithm))).toEqual({
      kind: 'authentic',
      events: [{ repository: 'infra/shop', tag: 'prod', key: undefined }],
      ignored: 0,
    });
  });

  it.each<[string, string | undefined]>([
    ['no signature', undefined],
    ['sha1', sign(body, 'sha1')],
    ['another secret', sign(body, 'sha256', 'other')],
    ['another body', sign(`${body} `, 'sha256')],
    ['half a signature', sign(body, 'sha256').slice(0, 40)],
    ['an algorithm of its own', sign(body, 'sha256').replace('sha256', 'md5')],
  ])('refuses %s', (_name, signature) => {
    expect(send(body, signature)).toEqual({ kind: 'forged' });
  });

  it('carries the id that repeats are dropped by', () => {
    const withId = '{"repository":"infra/shop","id":"42"}';
    expect(send(withId, sign(withId, 'sha256'))).toMatchObject({ events: [{ key: '42', tag: undefined }] });
  });

  it.each(['', '{}', '{"repository":""}', '{"repository":1}', '\u0000'])('says that signed %j is malformed', (text) => {
    expect(send(text, sign(text, 'sha256')).kind).toBe('malformed');
  });

  it('takes JSON only', () => {
    expect(send(body, sign(body, 'sha256'), 'text/plain').kind).toBe('unsupported');
  });
});
