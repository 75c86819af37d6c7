import { createHmac, timingSafeEqual } from 'node:crypto';
import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import { mediaType, parseJson, singleHeader, type Delivery, type HookRequest } from './receiver.ts';

const Body = Compile(
  Type.Object({
    repository: Type.String({ minLength: 1, maxLength: 512 }),
    tag: Type.Optional(Type.String({ maxLength: 128 })),
    id: Type.Optional(Type.String({ minLength: 1, maxLength: 256 })),
  }),
);

function isSigned(request: HookRequest, secret: string): boolean {
  const match = /^(sha256|sha512)=([0-9a-f]+)$/.exec(singleHeader(request, 'x-signature') ?? '');
  if (match === null || secret === '') return false;
  const [, algorithm = '', hex = ''] = match;
  const expected = createHmac(algorithm, secret).update(request.raw).digest();
  const given = Buffer.from(hex, 'hex');
  return given.length === expected.length && timingSafeEqual(given, expected);
}

/**
 * `X-Signature: sha256=<hex HMAC of the raw body>` (or sha512; sha1 is refused) over `{repository, tag?, id?}`.
 * With an `id` repeats are dropped; without one each delivery is looked at, because two equal pushes look alike.
 */
export function genericHmac(request: HookRequest, secret: string): Delivery {
  if (!isSigned(request, secret)) return { kind: 'forged' };
  if (mediaType(request) !== 'application/json') return { kind: 'unsupported', detail: 'send application/json' };
  const body = parseJson(request.raw);
  if (!Body.Check(body)) return { kind: 'malformed', detail: 'the body has to be {"repository": "…", "tag": "…"}' };
  return { kind: 'authentic', events: [{ repository: body.repository, tag: body.tag, key: body.id }], ignored: 0 };
}
