import { isIP } from 'node:net';
import { stalled } from '#core/domain/errors.ts';
import type { Repository } from '#core/domain/reference.ts';
import type { HttpTimeouts } from './http.ts';

/** Another server that may have the content of a registry. It gets credentials of its own, never the registry's. */
export interface Mirror {
  host: string;
  plainHttp: boolean;
  /** Put before the name of a repository, without slashes at its ends; empty for the same names. */
  prefix: string;
}

/** What is set for one host, be it a registry, a mirror, a token server or a blob store. */
export interface RegistryEntry {
  /** Asked in this order before the registry itself, for pulls only. */
  mirrors: readonly Mirror[];
  /** Whether names (tags, lists of tags and referrers) are asked of the mirrors too, not only content by digest. */
  mirrorTags: boolean;
  plainHttp: boolean;
  /** PEM texts. A `ca` stands in for the system's trust roots. */
  tls: { ca?: string; cert?: string; key?: string };
  /** `none`: never through a proxy. Undefined: what the process says. */
  proxy: URL | 'none' | undefined;
  /** `host[:port]` this registry may send us to although their addresses are private. */
  privateHosts: readonly string[];
  timeouts: Partial<Pick<HttpTimeouts, 'connect' | 'headers' | 'idle'>>;
}

/** The proxies of the process, as HTTPS_PROXY, HTTP_PROXY and NO_PROXY name them. */
export interface ProxySettings {
  https?: URL;
  http?: URL;
  /** Hosts, `.domains`, `host:port`, or `*`. */
  noProxy: readonly string[];
}

/** Everything an operator says about registries. */
export interface RegistrySettings {
  /** By `hostKey`. */
  entries: ReadonlyMap<string, RegistryEntry>;
  /** `host[:port]` or `*.domain`; none: any registry a Stack names. */
  allowed: readonly string[];
  proxies: ProxySettings;
}

export const NO_REGISTRY_SETTINGS: RegistrySettings = { entries: new Map(), allowed: [], proxies: { noProxy: [] } };

/** A host of which nothing is said. */
export const NO_ENTRY: RegistryEntry = {
  mirrors: [],
  mirrorTags: false,
  plainHttp: false,
  tls: {},
  proxy: undefined,
  privateHosts: [],
  timeouts: {},
};

const DOCKER_HUB: ReadonlySet<string> = new Set(['docker.io', 'index.docker.io', 'registry-1.docker.io']);

/** The one spelling of a host: lower-case, no default port of HTTPS, `docker.io` for every name of Docker Hub. */
export function hostKey(host: string): string {
  const key = host.toLowerCase().replace(/:443$/, '');
  return DOCKER_HUB.has(key) ? 'docker.io' : key;
}

/** What is set for exactly this `host[:port]`; nothing, where it has no entry. */
export function entryOf(settings: RegistrySettings, host: string): RegistryEntry {
  return settings.entries.get(hostKey(host)) ?? NO_ENTRY;
}

/** `host:port` of every registry and mirror that the settings reach by plain HTTP. */
export function plainHttpHosts(settings: RegistrySettings): string[] {
  return [...settings.entries].flatMap(([host, entry]) => [
    ...(entry.plainHttp ? [host] : []),
    ...entry.mirrors.filter(({ plainHttp }) => plainHttp).map((mirror) => mirror.host),
  ]);
}

/** `*.example.com` stands for every host below example.com on the default port, not for example.com itself. */
function matches(pattern: string, host: string): boolean {
  if (!pattern.startsWith('*.')) return hostKey(pattern) === host;
  return host.length > pattern.length - 1 && host.endsWith(pattern.slice(1).toLowerCase());
}

/**
 * Registries come from configuration only, where a list of them is set.
 * @throws ReconcileError stalled InvalidReference
 */
export function assertAllowed(settings: RegistrySettings, { host, name }: Repository): void {
  const { allowed } = settings;
  if (allowed.length === 0 || allowed.some((pattern) => matches(pattern, hostKey(host)))) return;
  throw stalled(
    'InvalidReference',
    `${host}/${name} is not pulled from: ${host} is not listed in PLUMBLINE_ALLOWED_REGISTRIES; list it or change spec.source`,
  );
}

function isLoopback(hostname: string): boolean {
  const bare = hostname.startsWith('[') ? hostname.slice(1, -1) : hostname;
  return bare === 'localhost' || bare === '::1' || (isIP(bare) === 4 && bare.startsWith('127.'));
}

function bypasses(pattern: string, url: URL): boolean {
  if (pattern === '*') return true;
  const { hostname, host } = url;
  if (pattern === hostname || pattern === host) return true;
  return hostname.endsWith(pattern.startsWith('.') ? pattern : `.${pattern}`);
}

/**
 * The proxy a URL is reached through. An entry's own comes first; the process's leaves out loopback addresses and what
 * NO_PROXY names (a host with everything below it, `host:port`, or `*`).
 */
export function proxyOf(settings: RegistrySettings, url: URL): URL | undefined {
  const { proxy } = entryOf(settings, url.host);
  if (proxy !== undefined) return proxy === 'none' ? undefined : proxy;
  const { https, http, noProxy } = settings.proxies;
  if (isLoopback(url.hostname) || noProxy.some((pattern) => bypasses(pattern, url))) return undefined;
  return url.protocol === 'https:' ? https : http;
}
