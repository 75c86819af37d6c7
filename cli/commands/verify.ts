import { basename } from 'node:path';
import { Option, type Command } from 'commander';
import { parseReference, type Repository } from '#core/domain/reference.ts';
import type { RegistryClient } from '#core/oci/registry-client.ts';
import { parseTrustedRoot } from '#core/oci/verify/trusted-root.ts';
import type { CosignTrust, Identity, NotationTrust, Signer } from '#core/oci/verify/verdict.ts';
import { verifyArtifact, type TrustMaterial } from '#core/oci/verify/verify.ts';
import { createContext, type Context } from '../context.ts';
import { failure, usage } from '../error.ts';
import { readTextFile } from '../key-files.ts';
import { withRegistry, type RegistryFlags } from '../registry-access.ts';

interface VerifyFlags extends RegistryFlags {
  key?: string[];
  certificateIdentity?: string;
  certificateIdentityRegexp?: string;
  certificateOidcIssuer?: string;
  certificateOidcIssuerRegexp?: string;
  trustedRoot?: string;
  requireLog?: boolean;
  notationStore?: string[];
  notationIdentity?: string[];
  notationLevel: 'strict' | 'permissive';
}

/** @throws CliError usage for half an identity, or one that is given exactly and as a pattern */
function identitiesOf(flags: VerifyFlags): Identity[] {
  const { certificateIdentity: subject, certificateIdentityRegexp: subjectPattern } = flags;
  const { certificateOidcIssuer: issuer, certificateOidcIssuerRegexp: issuerPattern } = flags;
  const given = (...texts: (string | undefined)[]) => texts.filter((text) => text !== undefined).length;
  if (given(subject, subjectPattern, issuer, issuerPattern) === 0) return [];
  if (given(subject, subjectPattern) !== 1 || given(issuer, issuerPattern) !== 1) {
    throw usage(
      'an identity needs exactly one of --certificate-identity[-regexp] and one of --certificate-oidc-issuer[-regexp]',
    );
  }
  return [
    {
      ...(subject === undefined ? {} : { subject }),
      ...(subjectPattern === undefined ? {} : { subjectPattern }),
      ...(issuer === undefined ? {} : { issuer }),
      ...(issuerPattern === undefined ? {} : { issuerPattern }),
    },
  ];
}

async function named(files: readonly string[], option: string): Promise<{ name: string; pem: string }[]> {
  return Promise.all(files.map(async (file) => ({ name: basename(file), pem: await readTextFile(file, option) })));
}

async function cosignTrust(flags: VerifyFlags, env: Context['env']): Promise<CosignTrust | undefined> {
  const keys = await named(flags.key ?? [], '--key');
  const identities = identitiesOf(flags);
  if (keys.length === 0 && identities.length === 0) return undefined;
  const file = flags.trustedRoot ?? env['PLUMBLINE_SIGSTORE_TRUSTED_ROOT'] ?? '';
  if (file === '' && (identities.length > 0 || flags.requireLog === true)) {
    throw usage('identities and --require-log need the root of a Sigstore: give --trusted-root trusted_root.json');
  }
  const trustedRoot = file === '' ? undefined : parseTrustedRoot(await readTextFile(file, '--trusted-root'), file);
  return { keys, identities, trustedRoot, requireLog: flags.requireLog === true };
}

async function notationTrust(flags: VerifyFlags): Promise<NotationTrust | undefined> {
  const { notationStore, notationIdentity, notationLevel } = flags;
  if (notationStore === undefined && notationIdentity === undefined) return undefined;
  if (notationStore === undefined || notationIdentity === undefined) {
    throw usage('--notation-store and --notation-identity go together; the identity may be "*"');
  }
  const stores = await named(notationStore, '--notation-store');
  return { level: notationLevel, stores, identities: notationIdentity };
}

async function materialOf(flags: VerifyFlags, env: Context['env']): Promise<TrustMaterial> {
  const [cosign, notation] = [await cosignTrust(flags, env), await notationTrust(flags)];
  if (cosign === undefined && notation === undefined) {
    throw usage('nobody is named whose signature would count: give --key, --certificate-identity or --notation-store');
  }
  return {
    ...(cosign === undefined ? {} : { cosign }),
    ...(notation === undefined ? {} : { notation }),
    attestations: [],
  };
}

async function check(
  client: RegistryClient,
  wanted: { repository: Repository; reference: string },
  material: TrustMaterial,
  signal: AbortSignal,
): Promise<{ digest: string; signers: Signer[] }> {
  const { repository, reference } = wanted;
  const { digest } = await client.resolve(repository, reference, signal);
  const verdict = await verifyArtifact({ source: client, repository, digest, now: new Date(), signal }, material);
  if (verdict.type !== 'verified') throw failure(verdict.message);
  return { digest, signers: verdict.signers };
}

async function verify(text: string, flags: VerifyFlags, command: Command): Promise<void> {
  const context = createContext(command);
  const { repository, tag, digest } = parseReference(text);
  const reference = digest ?? tag;
  if (reference === undefined) throw usage(`${text} names no tag and no digest`);
  const material = await materialOf(flags, context.env);
  const found = await withRegistry(repository, context, flags, (client, signal) =>
    check(client, { repository, reference }, material, signal),
  );
  context.print({ ...found, verified: true }, () => {
    const lines = found.signers.map(({ name, format }) => `  ${name} (${format})`);
    return [`${repository.host}/${repository.name}@${found.digest} is signed by`, ...lines].join('\n');
  });
}

/** `plumb verify`: asks the registry alone, as a worker would before it unpacks anything. */
export function verifyCommand(program: Command): void {
  program
    .command('verify <oci://host/name@digest|:tag>')
    .description('check who signed an artifact; ends with 1 when nobody did whose signature counts')
    .option('--key <file...>', 'public keys (PEM, such as cosign.pub); any one is enough')
    .option('--certificate-identity <text>', 'exact identity of the signer, such as the URL of a workflow')
    .option('--certificate-identity-regexp <re>', 'RE2 pattern of the whole identity')
    .option('--certificate-oidc-issuer <url>', 'exact issuer of the identity')
    .option('--certificate-oidc-issuer-regexp <re>', 'RE2 pattern of the whole issuer')
    .option('--trusted-root <file>', 'trusted_root.json of the Sigstore; else PLUMBLINE_SIGSTORE_TRUSTED_ROOT')
    .option('--require-log', 'a signature by key must be in a transparency log of the trusted root too')
    .option('--notation-store <file...>', 'root certificates (PEM) of Notation signatures')
    .option('--notation-identity <text...>', '"x509.subject: C=…, ST=…, O=…", or "*"')
    .addOption(
      new Option('--notation-level <level>', 'strict or permissive')
        .choices(['strict', 'permissive'])
        .default('strict'),
    )
    .option('--plain-http', 'reach this registry by plain HTTP')
    .action(verify);
}
