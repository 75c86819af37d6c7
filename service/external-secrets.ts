import type { ExternalSecret, SecretManifest } from '#core/domain/manifest.ts';
import { isAllowedHost, isLoopbackName } from '#core/oci/address-guard.ts';
import { GCP_SECRET } from '#core/secret-stores/gcp.ts';
import type { SpecError } from './spec-rules.ts';

type Field = 'address' | 'version' | 'region' | 'namespace' | 'credentials';

/** What each store takes beside `path` and `keys`. */
const FIELDS: Record<ExternalSecret['store'], { needed: Field[]; allowed: Field[] }> = {
  file: { needed: [], allowed: [] },
  environment: { needed: [], allowed: [] },
  vault: { needed: ['address', 'credentials'], allowed: ['version', 'namespace'] },
  'aws-secrets-manager': { needed: ['credentials'], allowed: ['address', 'version', 'region'] },
  'gcp-secret-manager': { needed: ['credentials'], allowed: ['address', 'version'] },
  'azure-key-vault': { needed: ['address', 'credentials'], allowed: ['version'] },
};

const OPTIONAL: readonly Field[] = ['address', 'version', 'region', 'namespace', 'credentials'];

/** What a path must look like, and how to say it. */
const PATHS: Record<ExternalSecret['store'], [RegExp, string]> = {
  file: [/^[^/\0]+(?:\/[^/\0]+)*$/, 'a path below the folder of the tenant, as in `shop/db`'],
  environment: [/^[A-Za-z0-9_]+$/, 'letters, digits and _: what follows the prefix in the name of the variable'],
  vault: [/^[^/]+\/.+$/, 'that of the API, as in `secret/data/shop/db` (version 2) or `kv/shop/db` (version 1)'],
  'aws-secrets-manager': [/^[\w/+=.@:-]{1,512}$/, 'the name or the ARN of the secret'],
  'gcp-secret-manager': [GCP_SECRET, '`projects/<project>/secrets/<name>`'],
  'azure-key-vault': [/^[0-9A-Za-z-]{1,127}$/, 'the name of the secret'],
};

function addressErrors(address: string | undefined): SpecError[] {
  if (address === undefined) return [];
  const url = URL.parse(address);
  const refused = (message: string) => [{ path: 'spec/external/address', message }];
  if (url === null) return refused('is not a URL');
  if (url.username !== '' || url.password !== '')
    return refused('credentials belong into the Secret that `credentials` names');
  if (url.protocol !== 'https:' && !(url.protocol === 'http:' && isLoopbackName(url.hostname)))
    return refused('must be https, for a token goes there and a secret comes back');
  return isAllowedHost(url.hostname, 'configured') ? [] : refused('is the address of a metadata service');
}

function externalErrors(external: ExternalSecret): SpecError[] {
  const { store, path } = external;
  const { needed, allowed } = FIELDS[store];
  const given = OPTIONAL.filter((name) => external[name] !== undefined);
  const errors: SpecError[] = [
    ...needed
      .filter((name) => external[name] === undefined)
      .map((name) => ({ path: `spec/external/${name}`, message: `the store ${store} needs it` })),
    ...given
      .filter((name) => !needed.includes(name) && !allowed.includes(name))
      .map((name) => ({ path: `spec/external/${name}`, message: `the store ${store} has none` })),
    ...addressErrors(external.address),
  ];
  const [pattern, what] = PATHS[store];
  const leadsOut = path.split('/').some((part) => part === '.' || part === '..');
  if (leadsOut || !pattern.test(path)) errors.push({ path: 'spec/external/path', message: `must be ${what}` });
  const hasRegion = external.region !== undefined || path.startsWith('arn:');
  if (store === 'aws-secrets-manager' && !hasRegion)
    errors.push({ path: 'spec/external/region', message: 'is needed where the path is no ARN' });
  return errors;
}

/** What a schema cannot say about a Secret; empty when it is fine. */
export function secretErrors({ data, external }: SecretManifest['spec']): SpecError[] {
  if ((data === undefined) === (external === undefined))
    return [{ path: 'spec', message: 'exactly one of data and external' }];
  return external === undefined ? [] : externalErrors(external);
}
