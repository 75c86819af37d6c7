import { Option, type Command } from 'commander';
import { stringify } from 'yaml';
import { NAME_PATTERN } from '#core/domain/manifest-parts.ts';
import { API_VERSION } from '#core/domain/manifest.ts';
import { parseReference } from '#core/domain/reference.ts';
import { createKeyPair, publicKeyOf, type KeyKind } from '#core/oci/sign-key.ts';
import { signArtifact } from '#core/oci/sign.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { keyPassword, readKeyFile, writeKeyPair } from '../key-files.ts';
import { withRegistry, type RegistryFlags } from '../registry-access.ts';
import { annotationsOf } from './push.ts';

interface SignFlags extends RegistryFlags {
  key: string;
  keyPasswordFile?: string;
  annotation?: string[];
}

async function sign(text: string, flags: SignFlags, command: Command): Promise<void> {
  const context = createContext(command);
  const { repository, tag, digest: named } = parseReference(text);
  const reference = named ?? tag;
  if (reference === undefined) throw usage(`${text} names no tag and no digest`);
  const annotations = annotationsOf(flags.annotation ?? []);
  const key = await readKeyFile(flags.key, await keyPassword(context.env, flags.keyPasswordFile));
  const signed = await withRegistry(repository, context, flags, async (client, signal) => {
    const { digest } = await client.resolve(repository, reference, signal);
    const signature = await signArtifact(client, { repository, digest, key, annotations }, signal);
    return { digest, signature: signature.digest };
  });
  const where = `${repository.host}/${repository.name}@${signed.digest}`;
  context.print({ ...signed, publicKey: publicKeyOf(key) }, () => `signed ${where} (${signed.signature})`);
}

/** A Secret with the public key, as `spec.source.verify.cosign.keys` names one. */
function secretManifest(name: string, publicKey: string): string {
  if (!new RegExp(NAME_PATTERN).test(name)) throw usage(`${JSON.stringify(name)} is no name of a Secret`);
  return stringify({
    apiVersion: API_VERSION,
    kind: 'Secret',
    metadata: { name },
    spec: { data: { 'cosign.pub': publicKey } },
  });
}

async function keygen(
  prefix: string,
  flags: { kind: KeyKind; keyPasswordFile?: string; secret?: string },
  command: Command,
): Promise<void> {
  const context = createContext(command);
  const password = await keyPassword(context.env, flags.keyPasswordFile);
  const pair = await createKeyPair({ kind: flags.kind, ...(password === undefined ? {} : { password }) });
  const secret = flags.secret === undefined ? {} : { secret: secretManifest(flags.secret, pair.publicKey) };
  const files = await writeKeyPair(prefix, pair, secret);
  const encrypted = password !== undefined && password !== '';
  const warning = encrypted ? '' : ' (not encrypted: set PLUMBLINE_KEY_PASSWORD for one that is)';
  context.print({ ...files, encrypted }, () => {
    const more = files.secret === undefined ? '' : `, and ${files.secret}, which \`plumb apply -f\` takes`;
    return `wrote ${files.key}${warning} and ${files.pub}${more}`;
  });
}

const PASSWORD_FILE = [
  '--key-password-file <file>',
  'password of the private key; else PLUMBLINE_KEY_PASSWORD or COSIGN_PASSWORD',
] as const;

/** `plumb sign` and `plumb keygen`: for registries and files, never for the service. */
export function signCommands(program: Command): void {
  program
    .command('sign <oci://host/name@digest|:tag>')
    .description('attach a signature to an artifact; `cosign verify --key` takes it too')
    .requiredOption('--key <file>', 'private key: PKCS #8 (PEM), or one of cosign; P-256, P-384 or Ed25519')
    .option(...PASSWORD_FILE)
    .option('--annotation <key=value...>', 'said about the artifact, under the signature')
    .option('--plain-http', 'reach this registry by plain HTTP')
    .action(sign);
  program
    .command('keygen <prefix>')
    .description(
      'make a key pair to sign with: <prefix>.key, which cosign reads too when it has a password, and <prefix>.pub',
    )
    .addOption(new Option('--kind <kind>', 'kind of the keys').choices(['p256', 'p384', 'ed25519']).default('p256'))
    .option(...PASSWORD_FILE)
    .option('--secret <name>', 'write <prefix>.secret.yaml as well: a Secret with the public key, to apply')
    .action(keygen);
}
