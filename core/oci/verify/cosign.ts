import { unreachable } from '#core/domain/errors.ts';
import { nameOf } from '../content.ts';
import { searchAttached } from './cosign-attached.ts';
import { firstFew, refusalOf } from './cosign-refusal.ts';
import type { Signed } from './cosign-signed.ts';
import { readTrust, vouch, type Trust } from './cosign-trust.ts';
import { checkSubject, COSIGN_SIGN } from './statement.ts';
import type { CosignTrust, Signer, Verdict, VerifyContext } from './verdict.ts';

/** A statement counts as a signature only when it says so: provenance by the same signer is about how it was built. */
function isSignature({ statement }: Signed): boolean {
  return statement === undefined || statement.predicateType === COSIGN_SIGN;
}

async function checkSignature(context: VerifyContext, signed: Signed, trust: Trust): Promise<Signer> {
  const { digest } = context;
  if (signed.statement !== undefined) checkSubject(signed.statement, digest);
  const { name } = await vouch(signed, trust);
  return { format: signed.format, name, digest, statement: 'artifact' };
}

interface Findings {
  refusals: string[];
  /** Attestations and the like, which are no signatures. */
  others: number;
  passed: number;
}

function summarize({ repository, digest }: VerifyContext, { refusals, others, passed }: Findings): Verdict {
  const where = nameOf(repository, digest);
  const rest = passed > 0 ? `; ${passed} more attached manifests were not looked at, remove those nobody needs` : '';
  if (refusals.length > 0) {
    return { type: 'refused', message: `no cosign signature of ${where} counts: ${firstFew(refusals)}${rest}` };
  }
  const also = others > 0 ? `, only ${others} statements about it, which are no signatures` : '';
  return {
    type: 'missing',
    message: `no cosign signature is attached to ${where}${also}; sign it with \`plumb sign\` or \`cosign sign\`${rest}`,
  };
}

/**
 * Whether a cosign signature of the digest meets a policy: a Sigstore bundle among its referrers, or one beside it under
 * the tag of older versions; by a key, or by an identity with a certificate of the trusted root. At most 50 attached
 * manifests are looked at, with bundles of at most 1 MiB; the first that counts ends the search. Nothing but the registry
 * is asked, so it works offline; certificates need a time that a log or authority of the root vouches for.
 * @throws ReconcileError stalled SpecInvalid for a policy that cannot be read, or of the registry
 */
export async function verifyCosign(context: VerifyContext, policy: CosignTrust): Promise<Verdict> {
  const trust = await readTrust(policy);
  const { attachments, passed } = await searchAttached(context, 'sig', (predicate) => predicate === COSIGN_SIGN);
  const findings: Findings = { refusals: [], others: 0, passed };
  for await (const attachment of attachments) {
    switch (attachment.type) {
      case 'refused':
        findings.refusals.push(attachment.why);
        break;
      case 'signed':
        if (!isSignature(attachment.signed)) {
          findings.others += 1;
          break;
        }
        try {
          return { type: 'verified', signers: [await checkSignature(context, attachment.signed, trust)] };
        } catch (error) {
          findings.refusals.push(`${attachment.signed.where}: ${refusalOf(error)}`);
        }
        break;
      default:
        unreachable(attachment);
    }
  }
  return summarize(context, findings);
}
