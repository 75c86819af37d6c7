import type { AttestationPolicy, CosignPolicy, VerifyPolicy } from '#core/domain/verify-policy.ts';
import { asReconcileError } from '#core/domain/errors.ts';
import { parseDuration } from '#core/domain/duration.ts';
import { compilePattern, textMatcher } from '#core/oci/patterns.ts';
import { parseTrustedIdentity } from '#core/oci/verify/notation-identity.ts';
import type { SpecError } from './spec-rules.ts';

const DAY_MS = 86_400_000;

/** What a parser says against a part of the spec. */
export function refusals(path: string, parse: (path: string) => unknown): SpecError[] {
  try {
    parse(path);
    return [];
  } catch (error) {
    const { message } = asReconcileError(error);
    // Most parsers begin with the name of the setting, which is told of as the path already.
    return [{ path, message: message.startsWith(`${path} `) ? message.slice(path.length + 1) : message }];
  }
}

/** Problems of an RE2 pattern, for a person. */
export function patternErrors(path: string, pattern: string | undefined): SpecError[] {
  return pattern === undefined ? [] : refusals(path, (at) => compilePattern(pattern, at));
}

/** An identity without both halves would let in everybody of an issuer, or everybody who calls himself so. */
function identityErrors(path: string, identity: NonNullable<CosignPolicy['identities']>[number]): SpecError[] {
  const halves = (['issuer', 'subject'] as const).flatMap((half) => {
    const given = [identity[half], identity[`${half}Pattern`]].filter((text) => text !== undefined && text !== '');
    if (given.length === 1) return [];
    return [{ path, message: `name the ${half} once, as ${half} or as ${half}Pattern` }];
  });
  return [
    ...halves,
    ...patternErrors(`${path}/issuerPattern`, identity.issuerPattern),
    ...patternErrors(`${path}/subjectPattern`, identity.subjectPattern),
  ];
}

function cosignErrors(path: string, policy: CosignPolicy | undefined): SpecError[] {
  if (policy === undefined) return [];
  const identities = (policy.identities ?? []).flatMap((identity, index) =>
    identityErrors(`${path}/identities/${index}`, identity),
  );
  if (policy.keys !== undefined || policy.identities !== undefined) return identities;
  return [{ path, message: 'name keys or identities: nobody else would count' }];
}

/** Texts between slashes are patterns. */
function textErrors(path: string, texts: readonly string[] | undefined): SpecError[] {
  return (texts ?? []).flatMap((text, index) => refusals(`${path}/${index}`, (at) => textMatcher(text, at)));
}

function attestationErrors(path: string, policy: AttestationPolicy, whole: VerifyPolicy): SpecError[] {
  const errors = cosignErrors(`${path}/cosign`, policy.cosign);
  if (policy.cosign === undefined && whole.cosign === undefined) {
    errors.push({ path, message: 'nobody is named to sign it: set cosign here or in verify' });
  }
  if ((policy.type === 'custom') !== (policy.predicateType !== undefined)) {
    errors.push({ path, message: 'predicateType belongs to type custom, and custom needs it' });
  }
  if (policy.maxSeverity !== undefined && policy.type !== 'vulnerabilities') {
    errors.push({ path, message: 'maxSeverity belongs to type vulnerabilities' });
  }
  const texts = (['builders', 'buildTypes', 'sourceRepositories', 'sourceRefs', 'materials'] as const).flatMap(
    (name) => {
      if (policy[name] !== undefined && policy.type !== 'slsa-provenance')
        return [{ path, message: `${name} belongs to type slsa-provenance` }];
      return textErrors(`${path}/${name}`, policy[name]);
    },
  );
  return [...errors, ...texts];
}

/** What a schema cannot say about a verification policy; empty when it is fine. */
export function verifyErrors(path: string, policy: VerifyPolicy | undefined): SpecError[] {
  if (policy === undefined) return [];
  const blocks = [policy.cosign, policy.notation, policy.attestations].filter((block) => block !== undefined);
  const errors: SpecError[] = [];
  if (policy.unsigned !== undefined && blocks.length > 0) {
    errors.push({ path: `${path}/unsigned`, message: 'an exception and a policy exclude each other' });
  }
  if (policy.unsigned === undefined && blocks.length === 0) {
    errors.push({ path, message: 'says nothing: name cosign, notation or attestations, or the exception unsigned' });
  }
  if (policy.wait !== undefined && parseDuration(policy.wait) > DAY_MS) {
    errors.push({ path: `${path}/wait`, message: `${policy.wait} is longer than a day` });
  }
  const attestations = (policy.attestations ?? []).flatMap((each, index) =>
    attestationErrors(`${path}/attestations/${index}`, each, policy),
  );
  const identities = (policy.notation?.trustedIdentities ?? []).flatMap((text, index) =>
    refusals(`${path}/notation/trustedIdentities/${index}`, () => parseTrustedIdentity(text)),
  );
  return [...errors, ...cosignErrors(`${path}/cosign`, policy.cosign), ...identities, ...attestations];
}
