import { describe, expect, it } from 'vitest';
import { distribution } from './distribution.ts';

const OCI = 'application/vnd.oci.image.manifest.v1+json';
const V2 = 'application/vnd.docker.distribution.events.v2+json';
const push = {
  id: 'e1',
  action: 'push',
  target: { mediaType: OCI, repository: 'infra/shop', tag: 'prod', digest: 'sha256:1' },
};

function send(events: unknown, headers: Record<string, string> = {}) {
  const raw = Buffer.from(typeof events === 'string' ? events : JSON.stringify({ events }));
  return distribution({ raw, headers: { authorization: 'Bearer s3cret', 'content-type': V2, ...headers } }, 's3cret');
}

describe('distribution notifications', () => {
  it.each(['s3cret', 'Bearer s3cret', 'bearer s3cret'])('takes the secret as %s', (authorization) => {
    expect(send([push], { authorization }).kind).toBe('authentic');
  });

  it.each(['', 'Bearer ', 'Bearer s3cre', 's3cret ', 'Basic s3cret'])('refuses %j', (authorization) => {
    expect(send([push], { authorization })).toEqual({ kind: 'forged' });
  });

  it('refuses everything when the secret is empty', () => {
    expect(distribution({ raw: Buffer.from('{}'), headers: { authorization: '' } }, '')).toEqual({ kind: 'forged' });
  });

  it.each([
    ['application/vnd.docker.distribution.events.v1+json', 'authentic'],
    [V2, 'authentic'],
    ['application/json; charset=utf-8', 'authentic'],
    ['text/plain', 'unsupported'],
    ['', 'unsupported'],
  ])('content type %j is %s', (type, kind) => {
    expect(send([push], { 'content-type': type }).kind).toBe(kind);
  });

  it('keeps pushes of manifests only, those without a tag as well: a signature has none', () => {
    const delivery = send([
      push,
      { ...push, action: 'pull' },
      { ...push, target: { ...push.target, mediaType: 'application/octet-stream' } },
      { ...push, id: 'e3', target: { ...push.target, tag: '' } },
      { id: 'e2', action: 'delete', target: { repository: 'infra/shop', digest: 'sha256:1' } },
    ]);
    expect(delivery).toEqual({
      kind: 'authentic',
      events: [
        { repository: 'infra/shop', tag: 'prod', key: 'e1' },
        { repository: 'infra/shop', tag: '', key: 'e3' },
      ],
      ignored: 3,
    });
  });

  it.each(['', '{', '[]', '{"events":1}', '{"events":[{}]}', 'null'])('says that %j is malformed', (body) => {
    expect(send(body).kind).toBe('malformed');
  });

  it('does not read a body before it knows the sender', () => {
    expect(send('{', { authorization: 'wrong' })).toEqual({ kind: 'forged' });
  });
});
