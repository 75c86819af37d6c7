import { Type } from 'typebox';
import { Compile } from 'typebox/compile';
import {
  equalInConstantTime,
  mediaType,
  parseJson,
  singleHeader,
  type HookRequest,
  type Delivery,
} from './receiver.ts';

/** v1 is sent by distribution 2.8, v2 by 3.0 and later; relays send plain JSON. */
const CONTENT_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.docker.distribution.events.v1+json',
  'application/vnd.docker.distribution.events.v2+json',
  'application/json',
]);

/** Blobs are pushed with events too; only these name a version. */
const MANIFEST_TYPES: ReadonlySet<string> = new Set([
  'application/vnd.oci.image.manifest.v1+json',
  'application/vnd.oci.image.index.v1+json',
  'application/vnd.docker.distribution.manifest.v2+json',
  'application/vnd.docker.distribution.manifest.list.v2+json',
]);

const Envelope = Compile(
  Type.Object({
    events: Type.Array(
      Type.Object({
        id: Type.String({ minLength: 1, maxLength: 256 }),
        action: Type.String({ maxLength: 64 }),
        target: Type.Object({
          mediaType: Type.Optional(Type.String({ maxLength: 256 })),
          repository: Type.String({ minLength: 1, maxLength: 512 }),
          tag: Type.Optional(Type.String({ maxLength: 128 })),
        }),
      }),
      { maxItems: 1000 },
    ),
  }),
);

/**
 * Notifications of CNCF Distribution and registries that copy its format. Nothing is signed: the sender shows the
 * receiver's secret in `Authorization`, as it is or after `Bearer`.
 */
export function distribution(request: HookRequest, secret: string): Delivery {
  const given = singleHeader(request, 'authorization') ?? '';
  const asIs = equalInConstantTime(given, secret);
  const asBearer = equalInConstantTime(given.replace(/^bearer /i, ''), secret);
  if (!asIs && !asBearer) return { kind: 'forged' };

  if (!CONTENT_TYPES.has(mediaType(request))) {
    return { kind: 'unsupported', detail: `send one of ${[...CONTENT_TYPES].join(', ')}` };
  }
  const body = parseJson(request.raw);
  if (!Envelope.Check(body)) {
    return { kind: 'malformed', detail: 'the body is no notification envelope of a distribution registry' };
  }
  const events = body.events.flatMap((event) => {
    const { mediaType: type = '', repository, tag = '' } = event.target;
    // Without a tag it is a signature or another referrer: the stack that waits for it is to look again.
    const pushed = event.action === 'push' && MANIFEST_TYPES.has(type);
    return pushed ? [{ repository, tag, key: event.id }] : [];
  });
  return { kind: 'authentic', events, ignored: body.events.length - events.length };
}
