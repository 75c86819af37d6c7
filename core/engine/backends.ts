import type { StateIdentity } from '../domain/plan.ts';
import { isLoopbackName } from '../oci/address-guard.ts';

/** Where a state can live: what of the engine's backends Plumbline lets through. `service` is Pulumi Cloud or one like it. */
const SCHEMES = ['file', 's3', 'gs', 'azblob', 'postgres', 'https', 'http'] as const;
type Scheme = (typeof SCHEMES)[number];

/**
 * Query parameters of each scheme that change how it is reached, and never what of it: `prefix`, `key`, `search_path`, host names
 * and files of the worker would (engine 3.259.0: gocloud.dev 0.47 and lib/pq).
 */
const PARAMETERS: Record<Scheme, readonly string[]> = {
  file: ['no_tmp_dir', 'metadata'],
  s3: [
    'awssdk', 'region', 'endpoint', 'hostname_immutable', 'use_path_style', 's3ForcePathStyle', 'disable_https', 'disableSSL',
    'dualstack', 'fips', 'accelerate', 'rate_limiter_capacity', 'request_checksum_calculation', 'response_checksum_validation',
    'ssetype', 'kmskeyid',
  ],
  gs: ['universe_domain'],
  azblob: ['storage_account', 'domain', 'protocol', 'localemu'],
  postgres: ['table', 'sslmode', 'connect_timeout', 'application_name'],
  https: [],
  http: [],
}; // prettier-ignore

/** Where the credentials of each scheme belong: variables of the Secrets in spec.credentials that the engine honours. */
const CREDENTIALS: Record<Scheme, string> = {
  file: 'a file backend has none',
  s3: 'AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
  gs: 'GOOGLE_CREDENTIALS (the JSON itself)',
  azblob: 'AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN',
  postgres: 'PGUSER and PGPASSWORD',
  https: 'PULUMI_ACCESS_TOKEN',
  http: 'PULUMI_ACCESS_TOKEN',
};

/** Organization the engine's own backends put every stack under. */
export const NO_ORGANIZATION = 'organization';
const TABLE = /^[a-z_][a-z0-9_]{0,62}$/;
const DEFAULT_TABLE = 'pulumi_state';

function schemeOf(url: URL): Scheme | undefined {
  return SCHEMES.find((scheme) => `${scheme}:` === url.protocol);
}

/** Whether the backend is a service that speaks Pulumi Cloud's API: organizations, ESC and its own lock. */
export function isService(backend: string): boolean {
  return backend.startsWith('https://') || backend.startsWith('http://');
}

function urlErrors(url: URL, scheme: Scheme): string[] {
  const errors: string[] = [];
  if (url.password !== '' || (url.username !== '' && scheme !== 'postgres')) {
    errors.push(
      `holds a credential, which would be shown and bound: leave it out, and put ${CREDENTIALS[scheme]} into the Secrets that spec.credentials names`,
    );
  }
  const unknown = [...new Set(url.searchParams.keys())].filter((name) => !PARAMETERS[scheme].includes(name));
  if (unknown.length > 0) {
    const allowed = PARAMETERS[scheme].join(', ') || 'none';
    errors.push(`has the parameter ${unknown.join(', ')}, which is not let through; ${scheme} takes ${allowed}`);
  }
  const endpoint = url.searchParams.get('endpoint');
  const endpointUrl =
    endpoint === null ? undefined : URL.parse(endpoint.includes('://') ? endpoint : `https://${endpoint}`);
  if (endpointUrl === null || (endpointUrl !== undefined && `${endpointUrl.username}${endpointUrl.password}` !== '')) {
    errors.push('has an endpoint that is no plain URL');
  }
  if (url.hash !== '') errors.push('has a fragment, which no backend reads; leave it out');
  if (url.pathname.includes('//')) errors.push('has a path with a doubled slash; write it plainly');
  return errors;
}

function placeErrors(url: URL, scheme: Scheme): string[] {
  switch (scheme) {
    case 'file':
      return url.host === '' ? [] : ['names a host; a file backend is file:///absolute/path'];
    case 'postgres': {
      // Several hosts would be several places.
      const isOne = url.hostname !== '' && !url.hostname.includes(',');
      const errors = /^\/[^/]+$/.test(url.pathname) && isOne ? [] : ['is not postgres://host/database'];
      if (TABLE.test(url.searchParams.get('table') ?? DEFAULT_TABLE)) return errors;
      return [...errors, 'has a table that is not made of small letters, digits and _'];
    }
    case 'http':
      return isLoopbackName(url.hostname) ? [] : ['would send its access token in clear; write https://'];
    case 'https':
      return [];
    case 's3':
    case 'gs':
    case 'azblob':
      return url.hostname === '' ? ['names no bucket'] : [];
  }
}

/** What is wrong with the URL of a backend, each to be read after its name; empty when it is fine. */
export function backendUrlErrors(backend: string): string[] {
  // The parser resolves `..`, so what is written is looked at too.
  const url = URL.parse(backend);
  if (url === null || /\/\.{1,2}(?:\/|$|\?)|[\s\p{C}]/u.test(backend)) return ['is no plain URL'];
  const scheme = schemeOf(url);
  if (scheme === undefined) return [`has an unknown scheme; a state lives in ${SCHEMES.slice(0, -1).join(', ')}`];
  // The engine and we must read one place: each decodes, folds and resolves in a way of its own.
  const [address = ''] = backend.split('?', 1);
  if (!address.startsWith(`${scheme}://`)) return [`is not written as ${scheme}://…`];
  if (/[%\\]/.test(address)) return ['holds a % or a backslash before its parameters; write its path plainly'];
  return [...urlErrors(url, scheme), ...placeErrors(url, scheme)];
}

/** A place a backend points to: nobody but its tenant may be at it, above it or below it. */
interface Place {
  /** Bucket, container, table or service; an account where the URL names it. */
  root: string;
  account: string | undefined;
  path: string[];
}

/** A host in the one way places are compared: the parser leaves it as written where the scheme is no web one. */
function hostOf(url: URL): string {
  return url.hostname.toLowerCase().replace(/\.+$/, '');
}

function placeOf(backend: string, organization: string): Place | undefined {
  const url = URL.parse(backend);
  const scheme = url === null ? undefined : schemeOf(url);
  if (url === null || scheme === undefined) return undefined;
  const path = url.pathname.split('/').filter((part) => part !== '');
  const account = url.searchParams.get('storage_account') ?? undefined;
  if (scheme === 'postgres') {
    const table = url.searchParams.get('table') ?? DEFAULT_TABLE;
    return { root: `postgres ${hostOf(url)}:${url.port || '5432'}`, account, path: [...path, table] };
  }
  if (isService(backend))
    return { root: `service ${hostOf(url)}:${url.port}`, account, path: [organization.toLowerCase()] };
  return { root: `${scheme} ${url.hostname}`, account, path };
}

/** One tenant's use of a backend. */
export interface BackendUse {
  backend: string;
  organization: string;
}

/**
 * Whether two backends are the same place, or one lies inside the other (design, rule 10). How each is reached is left out: the
 * same bucket by another endpoint counts as the same.
 */
export function sharesPlace(one: BackendUse, other: BackendUse): boolean {
  const a = placeOf(one.backend, one.organization);
  const b = placeOf(other.backend, other.organization);
  if (a === undefined || b === undefined || a.root !== b.root) return false;
  if (a.account !== undefined && b.account !== undefined && a.account !== b.account) return false;
  return a.path.every((part, index) => index >= b.path.length || part === b.path[index]);
}

/**
 * A tenant's own part of the installation's backend: a folder of it, or of PostgreSQL a table of its own.
 * @returns undefined for a service, whose organizations only the spec can name.
 */
export function tenantBackend(shared: string, tenant: string): string | undefined {
  if (isService(shared)) return undefined;
  const url = URL.parse(shared);
  if (url === null) return undefined;
  if (url.protocol === 'postgres:') {
    // Names of tenants hold no `_`, so two never come to the same table.
    const table = url.searchParams.get('table') ?? DEFAULT_TABLE;
    url.searchParams.set('table', `${table}_${tenant.replaceAll('-', '_')}`);
    return url.href;
  }
  const [address = '', query] = shared.split('?', 2);
  return `${address.replace(/\/$/, '')}/${tenant}${query === undefined ? '' : `?${query}`}`;
}

/** Whether a backend reaches into what the installation has for all its tenants: at it, inside it or above it. */
export function meetsShared(backend: string, shared: string): boolean {
  const [own, common] = [placeOf(backend, NO_ORGANIZATION), placeOf(shared, NO_ORGANIZATION)];
  if (own === undefined || common === undefined) return false;
  const table = common.path.at(-1);
  // Beside the table of the installation lie those of its tenants.
  if (!shared.startsWith('postgres:') || own.path.at(-1)?.startsWith(`${table}_`) !== true)
    return sharesPlace(use(backend), use(shared));
  return own.root === common.root && own.path[0] === common.path[0];
}

/** Whether a backend is the given one or lies inside it, reached the same way. */
export function liesWithin(backend: string, base: string): boolean {
  const strip = (text: string) => (text.split('?', 1)[0] ?? '').replace(/\/$/, '');
  if (base.startsWith('postgres:')) return sharesPlace(use(backend), use(base));
  return strip(backend) === strip(base) || strip(backend).startsWith(`${strip(base)}/`);
}

/** A backend without organizations, as a use. */
export function use(backend: string, organization: string = NO_ORGANIZATION): BackendUse {
  return { backend, organization };
}

/** What of spec.pulumi concerns the backend. */
export interface BackendSpec {
  backend?: string;
  organization?: string;
  environments?: string[];
}

/** What is wrong with the backend part of a spec; `path` below spec.pulumi. */
export function backendErrors({
  backend,
  organization,
  environments = [],
}: BackendSpec): { path: string; message: string }[] {
  const errors =
    backend === undefined
      ? []
      : backendUrlErrors(backend).map((text) => ({ path: 'backend', message: `the backend ${text}` }));
  const service = backend !== undefined && isService(backend);
  if (service && organization === undefined) {
    errors.push({ path: 'organization', message: 'a stack of Pulumi Cloud belongs to an organization; name it' });
  }
  // Without a backend of its own the installation's decides, which may be a service.
  if (backend !== undefined && !service && organization !== undefined) {
    errors.push({
      path: 'organization',
      message: 'only a backend of Pulumi Cloud (https) has organizations; leave it out',
    });
  }
  if (backend !== undefined && !service && environments.length > 0) {
    errors.push({
      path: 'environments',
      message:
        'only a backend of Pulumi Cloud (https) has ESC environments; use spec.pulumi.config and environment instead',
    });
  }
  return errors;
}

/**
 * What of a name the backend cannot keep apart: PostgreSQL reads `_` as any character when it lists, so that `a_b` meets what
 * belongs to `a-b` (engine 3.259.0, diy/postgres).
 */
export function nameError({ backend, project, stack }: StateIdentity): string | undefined {
  if (!backend.startsWith('postgres:') || !`${project}${stack}`.includes('_')) return undefined;
  return `the project or stack ${project}/${stack} holds a _, which a PostgreSQL backend does not keep apart from other characters; use - instead, or another backend`;
}

/** The stack's name as the engine takes it after `--stack`. */
export function engineStackName({ backend, organization, project, stack }: StateIdentity): string {
  return isService(backend) ? `${organization}/${project}/${stack}` : stack;
}

/** Key prefix of everything below a bucket's path. */
export function objectPrefix(backend: string): string {
  const path = (URL.parse(backend)?.pathname ?? '').replace(/^\/+/, '');
  return path === '' || path.endsWith('/') ? path : `${path}/`;
}
