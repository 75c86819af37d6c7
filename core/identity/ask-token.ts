import { Compile } from 'typebox/compile';
import { stalled, transient } from '../domain/errors.ts';
import { field, parseJson } from '../oci/body.ts';
import type { MasterKey } from '../secrets.ts';
import { openToken, SealedToken, TOKEN_PATH, type SignedTokenRequest } from './token-request.ts';

const LIMIT_MS = 30_000;
const BODY_LIMIT = 64 * 1024;
const SHOWN = 500;

const Answer = Compile(SealedToken);

/** A token of a run. */
export interface RunToken {
  token: string;
  expiresAt: Date;
}

async function readBody(response: Response): Promise<Buffer> {
  const body: ReadableStream<Uint8Array> | null = response.body;
  const chunks: Uint8Array[] = [];
  let size = 0;
  for await (const chunk of body ?? []) {
    size += chunk.byteLength;
    if (size > BODY_LIMIT) throw new Error(`an answer of more than ${BODY_LIMIT} bytes`);
    chunks.push(chunk);
  }
  return Buffer.concat(chunks, size);
}

async function send(url: string, body: string, signal: AbortSignal): Promise<{ status: number; body: unknown }> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json', accept: 'application/json' },
    body,
    // Whoever answers with a redirect is not the service.
    redirect: 'error',
    signal,
  });
  return { status: response.status, body: parseJson(await readBody(response)) };
}

/** The service's word against a request. What a lease or a rush is about passes, everything else is a person's. */
function refusal(status: number, body: unknown) {
  const detail = field(body, 'detail');
  const said = typeof detail === 'string' ? detail.slice(0, SHOWN) : `status ${status}`;
  const message = `the service minted no identity token: ${said}`;
  const passes = status === 409 || status === 429 || status >= 500;
  if (passes) return transient('IdentityFailed', `${message}; it is tried again`);
  const remedy =
    status === 404 || status === 422
      ? ''
      : '. See that PLUMBLINE_SERVICE_URL leads to the service of this installation, with the same master key and database';
  return stalled('IdentityFailed', message + remedy);
}

/**
 * Asks the service for a token.
 * @throws ReconcileError stalled | transient IdentityFailed; or the reason of the signal
 */
export async function askToken(
  at: { serviceUrl: string; masterKey: MasterKey; signal: AbortSignal },
  signed: SignedTokenRequest,
): Promise<RunToken> {
  const signal = AbortSignal.any([at.signal, AbortSignal.timeout(LIMIT_MS)]);
  const answer = await send(`${at.serviceUrl}${TOKEN_PATH}`, JSON.stringify(signed), signal).catch((error: unknown) => {
    at.signal.throwIfAborted();
    const cause = error instanceof Error && error.cause instanceof Error ? error.cause.message : String(error);
    throw transient(
      'IdentityFailed',
      `the service does not answer at ${at.serviceUrl} (${cause}); see PLUMBLINE_SERVICE_URL. It is tried again`,
    );
  });
  if (answer.status !== 200) throw refusal(answer.status, answer.body);
  if (!Answer.Check(answer.body))
    throw stalled(
      'IdentityFailed',
      `what answers at ${at.serviceUrl} is no service of Plumbline; see PLUMBLINE_SERVICE_URL`,
    );
  const { token, expiresAt } = answer.body;
  return { token: openToken(at.masterKey, signed.request.nonce, token), expiresAt: new Date(expiresAt) };
}
