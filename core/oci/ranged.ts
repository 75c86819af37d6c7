import { setTimeout as sleep } from 'node:timers/promises';
import { ReconcileError, stalled, transient } from '#core/domain/errors.ts';
import type { HttpResponse } from './http.ts';
import type { Session, SessionRequest } from './session.ts';
import { assertAnswered } from './status.ts';

/** How often one download goes on after its connection broke. */
const MAX_RESUMES = 5;
const BACKOFF_MS = 250;

export interface Expected {
  /** Bytes of the whole body, as the descriptor says. */
  size: number;
  /** Starts messages: what is downloaded from where, with its digest. */
  what: string;
}

/** What the first answer said about going on later. */
interface Resumable {
  /** A strong ETag; a weak one must not be used for ranges (RFC 9110, section 13.1.5). */
  etag: string | undefined;
}

function resumableOf(response: HttpResponse): Resumable | undefined {
  if (response.header('accept-ranges')?.trim().toLowerCase() !== 'bytes') return undefined;
  const etag = response.header('etag');
  return { etag: etag?.startsWith('"') === true ? etag : undefined };
}

async function assertSize(response: HttpResponse, { size, what }: Expected): Promise<void> {
  const declared = response.header('content-length');
  if (declared === undefined || Number(declared) === size) return;
  await response.discard();
  throw stalled(
    'DigestMismatch',
    `${what} has ${declared} bytes, its descriptor says ${size}; check the registry, push it again, then \`plumb reconcile\``,
  );
}

async function start(session: Session, request: SessionRequest, expected: Expected): Promise<HttpResponse> {
  const response = await session.send(request);
  await assertAnswered(response, expected.what);
  await assertSize(response, expected);
  if (response.status === 200) return response;
  await response.discard();
  throw transient('SourceUnreachable', `${expected.what} answered ${response.status} instead of the whole content`);
}

/** Asks the registry again, which gives a fresh address of its blob store, for what is missing from `offset` on. */
async function rest(
  session: Session,
  request: SessionRequest,
  expected: Expected,
  from: Resumable & { offset: number },
): Promise<HttpResponse> {
  const { offset, etag } = from;
  const headers = {
    ...request.headers,
    range: `bytes=${offset}-`,
    ...(etag === undefined ? {} : { 'if-range': etag }),
  };
  const response = await session.send({ ...request, headers });
  await assertAnswered(response, expected.what);
  const range = /^bytes (\d+)-\d+\/(\d+|\*)$/.exec(response.header('content-range') ?? '');
  const total = range?.[2];
  const goesOn = response.status === 206 && Number(range?.[1]) === offset;
  if (goesOn && (total === '*' || Number(total) === expected.size)) return response;
  await response.discard();
  throw transient(
    'SourceUnreachable',
    `${expected.what} broke off after ${offset} of ${expected.size} bytes and could not be gone on with (${response.status}); it is started anew`,
  );
}

function isBroken(error: unknown): boolean {
  return error instanceof ReconcileError && error.reason === 'SourceUnreachable' && error.kind === 'transient';
}

/**
 * A GET whose body is gone on with after its connection broke, where the server takes ranges (RFC 9110, section 14).
 * The first try to go on waits for `backoffMs`, each other twice as long as the one before. The bytes are the caller's to check: what was yielded before and after a break may be of two contents.
 * @throws ReconcileError of the session, and stalled DigestMismatch where the answer has another size
 */
export async function resumedBody(
  session: Session,
  request: SessionRequest,
  expected: Expected,
  backoffMs = BACKOFF_MS,
): Promise<AsyncIterable<Uint8Array>> {
  const first = await start(session, request, expected);
  return resumed(session, request, expected, { first, backoffMs });
}

async function* resumed(
  session: Session,
  request: SessionRequest,
  expected: Expected,
  { first, backoffMs }: { first: HttpResponse; backoffMs: number },
): AsyncGenerator<Uint8Array, void> {
  const resumable = resumableOf(first);
  let response = first;
  let offset = 0;
  for (let resumes = 0; ; resumes += 1) {
    try {
      for await (const chunk of response.body) {
        offset += chunk.byteLength;
        yield chunk;
      }
      return;
    } catch (error) {
      if (!isBroken(error) || resumes === MAX_RESUMES || offset >= expected.size) throw error;
      // Nothing was passed on yet, so any server can start anew.
      if (resumable === undefined && offset > 0) throw error;
      await sleep(backoffMs * 2 ** resumes, undefined, { signal: request.signal }).catch(() => {
        throw request.signal.reason;
      });
      response =
        offset === 0
          ? await start(session, request, expected)
          : await rest(session, request, expected, { offset, etag: resumable?.etag });
    }
  }
}
