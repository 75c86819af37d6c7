import { randomUUID } from 'node:crypto';
import type { Transaction } from 'kysely';
import { audienceOf, loginOf, mintRefusal, subjectOf, type Phase } from '#core/domain/credential.ts';
import {
  isSignedTokenRequest,
  REQUEST_LIFE_MS,
  sealToken,
  type SealedToken,
  type SignedTokenRequest,
} from '#core/identity/token-request.ts';
import { saidBy } from '#core/oci/identity/ask.ts';
import { databaseNow } from '#core/store/clock.ts';
import { recordEvent } from '#core/store/events.ts';
import { leasedRun, mintedFor, noteToken, type LeasedRun } from '#core/store/identity-tokens.ts';
import type { Schema } from '#core/store/schema.ts';
import type { RouteDeps } from '../deps.ts';
import { Problem } from '../problem.ts';
import type { IdentityIssuer } from './issuer.ts';
import { TOKEN_LIFE_MS } from './key-states.ts';

/** Tokens a run gets in a minute: two phases, and refreshes that failed half-way. */
const PER_MINUTE = 12;
/** Clouds refuse tokens of the future: theirs may be this much behind the database's clock. */
const SKEW_MS = 10_000;
const SIGN_MS = 15_000;

/** The one problem of a service without a public URL. */
export function noIssuer(code: 'not-found' | 'invalid'): Problem {
  return new Problem(
    code,
    'this installation mints no identity tokens: set PLUMBLINE_PUBLIC_URL on the service to the URL under which clouds reach it',
  );
}

function claimsOf(run: LeasedRun, phase: Phase, issuer: IdentityIssuer, now: Date) {
  const login = loginOf(run.spec.credentials?.[phase]);
  if (login === undefined)
    throw new Problem('invalid', `the identity ${phase} of ${run.stack} is made without a token`);
  const seconds = Math.floor((now.getTime() - SKEW_MS) / 1000);
  return {
    sub: subjectOf({ tenant: run.tenant, stack: run.stack, phase }),
    aud: audienceOf(login, issuer.url),
    iat: seconds,
    nbf: seconds,
    exp: seconds + TOKEN_LIFE_MS / 1000,
    jti: randomUUID(),
    tenant: run.tenant,
    stack: run.stack,
    op: phase,
    run: run.number,
    digest: run.digest,
  };
}

type Claims = ReturnType<typeof claimsOf>;

/** Once for a run and phase; the tokens that refresh it are in the table. Never the token. */
async function sayMinted(trx: Transaction<Schema>, run: LeasedRun, stackId: string, claims: Claims, workerId: string) {
  await recordEvent(trx, {
    tenant: run.tenant,
    stackId,
    runId: run.id,
    type: 'IdentityMinted',
    message: `run ${run.number} got a token of the identity ${claims.op} for ${claims.aud}`,
    actor: 'plumbline',
    data: {
      run: run.number,
      op: claims.op,
      subject: claims.sub,
      audience: claims.aud,
      jti: claims.jti,
      worker: workerId,
    },
  });
}

/** What is decided about a request, under a lock on the lease it names. */
async function decide(trx: Transaction<Schema>, issuer: IdentityIssuer, { request }: SignedTokenRequest) {
  const now = await databaseNow(trx);
  // The clock of the database on both sides: a skewed machine neither refuses what is fresh nor takes what is old.
  if (Math.abs(now.getTime() - request.time) > REQUEST_LIFE_MS)
    throw new Problem('unauthenticated', `the request is more than ${REQUEST_LIFE_MS / 1000} s old, or of the future`);
  const run = await leasedRun(trx, request);
  if (run === undefined)
    throw new Problem(
      'conflict',
      'the lease ended, is held by another worker, or is not of this run: it gets no identity',
      {
        reason: 'LeaseLost',
      },
    );
  const refusal = mintRefusal(run, request.phase);
  if (refusal !== undefined)
    throw new Problem('forbidden', `run ${run.number} gets no identity ${request.phase}: ${refusal}`);
  const minted = await mintedFor(trx, { runId: run.id, phase: request.phase });
  if (minted.lastMinute >= PER_MINUTE)
    throw new Problem(
      'unavailable',
      `run ${run.number} got ${minted.lastMinute} tokens within a minute; ask again later`,
    );
  const claims = claimsOf(run, request.phase, issuer, now);
  const isNew = await noteToken(trx, {
    nonce: request.nonce,
    tenant: run.tenant,
    runId: run.id,
    phase: request.phase,
    jti: claims.jti,
  });
  if (!isNew) throw new Problem('unauthenticated', 'the request was answered before');
  if (!minted.before) await sayMinted(trx, run, request.stackId, claims, request.workerId);
  return { claims, now };
}

/**
 * Mints a token for a worker that holds the lease of a run: for its phase, its clouds and its digest, whatever the worker says
 * beside that.
 * @throws Problem: unauthenticated (not signed with the master key, stale, repeated), conflict (the lease), forbidden (the phase)
 */
export async function mintToken(deps: RouteDeps, signed: SignedTokenRequest): Promise<SealedToken> {
  const { identityIssuer: issuer } = deps;
  if (issuer === undefined) throw noIssuer('not-found');
  if (!isSignedTokenRequest(deps.masterKey, signed))
    throw new Problem('unauthenticated', 'the request is not signed with the master key of this installation');
  const { claims, now } = await deps.db.transaction().execute((trx) => decide(trx, issuer, signed));
  // Not inside: a slow KMS must not keep the worker from renewing its lease.
  const token = await issuer.issue(claims, now.getTime(), AbortSignal.timeout(SIGN_MS)).catch((error: unknown) => {
    deps.logger.error({ err: error, reason: 'IdentityFailed' }, 'an identity token was not signed');
    throw new Problem(
      'unavailable',
      `the keys of identity tokens do not sign (${saidBy(error)}); see PLUMBLINE_OIDC_KEYS`,
    );
  });
  deps.scrubber.register(token);
  return {
    token: sealToken(deps.masterKey, signed.request.nonce, token),
    expiresAt: new Date(claims.exp * 1000).toISOString(),
  };
}
