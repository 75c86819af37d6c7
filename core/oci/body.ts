import { stalled } from '#core/domain/errors.ts';
import type { HttpResponse } from './http.ts';

/** Bytes of an error answer that are read for its message. */
const ERROR_BODY_LIMIT = 16 * 1024;
const SHOWN = 300;

/**
 * Reads a whole body.
 * @throws ReconcileError stalled ArtifactTooLarge past `limit` bytes
 */
export async function readAll(response: HttpResponse, limit: number, what: string): Promise<Buffer> {
  const declared = Number(response.header('content-length') ?? 0);
  if (declared > limit) {
    await response.discard();
    throw tooLarge(what, limit);
  }
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of response.body) {
    size += chunk.byteLength;
    if (size > limit) throw tooLarge(what, limit);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

function tooLarge(what: string, limit: number) {
  return stalled(
    'ArtifactTooLarge',
    `${what} is larger than the allowed ${limit} bytes; check what was pushed and the registry`,
  );
}

/** Parses JSON without trusting it; undefined when it is none. */
export function parseJson(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

/** A field of something that came from outside. */
export function field(value: unknown, name: string): unknown {
  return typeof value === 'object' && value !== null ? Reflect.get(value, name) : undefined;
}

/** The first error of a registry's answer as `CODE: message` (distribution-spec, "Error Codes"), printable and short. */
export async function errorText(response: HttpResponse): Promise<string> {
  const bytes = await readAll(response, ERROR_BODY_LIMIT, 'the error answer').catch(() => Buffer.alloc(0));
  const errors = field(parseJson(bytes), 'errors');
  const first: unknown = Array.isArray(errors) ? errors[0] : undefined;
  const parts = [field(first, 'code'), field(first, 'message')].filter((part) => typeof part === 'string');
  // A registry chooses this text: control characters would let it forge log lines.
  return parts.join(': ').replace(/\p{C}/gu, ' ').slice(0, SHOWN);
}
