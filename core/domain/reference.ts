import { isIPv6 } from 'node:net';
import { stalled } from './errors.ts';
import { DIGEST_PATTERN } from './manifest.ts';

/** `host[:port]/name`, without scheme, tag or digest. The host is lower-case; Docker Hub is always `docker.io`. */
export interface Repository {
  host: string;
  name: string;
}

/** What a person writes after `oci://`. */
export interface Reference {
  repository: Repository;
  tag?: string;
  digest?: string;
}

const SCHEME = 'oci://';
const MAX_TEXT = 512;
/** Many clients cap host, slash and name together at 255 (distribution-spec, "Pulling manifests"). */
const MAX_REPOSITORY = 255;
const DOCKER_HUB = 'docker.io';
const DOCKER_HUB_ALIASES: ReadonlySet<string> = new Set([DOCKER_HUB, 'index.docker.io', 'registry-1.docker.io']);

/** distribution-spec v1.1.1 spec.md, `<name>`. */
const NAME = /^[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*(\/[a-z0-9]+((\.|_|__|-+)[a-z0-9]+)*)*$/;
/** distribution-spec v1.1.1 spec.md, `<reference>` as a tag. */
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;
const DIGEST = new RegExp(DIGEST_PATTERN);
const DNS_HOST = /^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/;

/** Whether the text is a digest we accept: sha256 or sha512, lower-case hex. */
export function isDigest(text: string): boolean {
  return DIGEST.test(text);
}

/** Whether the text may be a tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

function invalid(text: string, why: string) {
  const shown = JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
  return stalled('InvalidReference', `${shown} is no repository reference: ${why}; write oci://host[:port]/name`);
}

function isHost(host: string): boolean {
  const [, bracketed, rest] = /^(\[[^\]]*\])?(.*)$/.exec(host) ?? [];
  const [name = '', port, ...more] = (bracketed === undefined ? host : `v6${rest}`).split(':');
  if (more.length > 0) return false;
  if (port !== undefined && !(/^[1-9][0-9]{0,4}$/.test(port) && Number(port) <= 65_535)) return false;
  return bracketed === undefined ? DNS_HOST.test(name) : name === 'v6' && isIPv6(bracketed.slice(1, -1));
}

function canonical(host: string, name: string): Repository {
  if (!DOCKER_HUB_ALIASES.has(host)) return { host, name };
  return { host: DOCKER_HUB, name: name.includes('/') ? name : `library/${name}` };
}

/**
 * Parses `oci://host[:port]/name[:tag][@digest]`.
 * @throws ReconcileError stalled InvalidReference
 */
export function parseReference(text: string): Reference {
  if (text.length > MAX_TEXT) throw invalid(text, `it is longer than ${MAX_TEXT} characters`);
  if (!text.startsWith(SCHEME)) throw invalid(text, `it does not start with ${SCHEME}`);
  const [path = '', digest, ...moreDigests] = text.slice(SCHEME.length).split('@');
  if (moreDigests.length > 0) throw invalid(text, 'it holds more than one @');
  if (digest !== undefined && !isDigest(digest)) throw invalid(text, 'what follows @ is no sha256 or sha512 digest');
  const slash = path.indexOf('/');
  if (slash === -1) throw invalid(text, 'the name is missing');
  const host = path.slice(0, slash).toLowerCase();
  if (!isHost(host)) throw invalid(text, 'the host is not valid');
  const [name = '', tag, ...moreTags] = path.slice(slash + 1).split(':');
  if (moreTags.length > 0) throw invalid(text, 'it holds more than one tag');
  if (tag !== undefined && !isTag(tag)) throw invalid(text, 'the tag is not valid');
  if (!NAME.test(name)) throw invalid(text, 'the name takes lower-case letters, digits, . _ - and /');
  const repository = canonical(host, name);
  if (repository.host.length + 1 + repository.name.length > MAX_REPOSITORY) {
    throw invalid(text, `host and name together are longer than ${MAX_REPOSITORY} characters`);
  }
  return { repository, ...(tag === undefined ? {} : { tag }), ...(digest === undefined ? {} : { digest }) };
}

/**
 * Parses `oci://host[:port]/name`; a tag or digest is refused, since they belong to `ref`.
 * @throws ReconcileError stalled InvalidReference
 */
export function parseRepository(text: string): Repository {
  const { repository, tag, digest } = parseReference(text);
  if (tag !== undefined || digest !== undefined) {
    throw invalid(text, 'a tag or digest belongs to spec.source.ref, not to the repository');
  }
  return repository;
}

/** `oci://host/name`, the inverse of `parseRepository`. */
export function formatRepository(repository: Repository): string {
  return `${SCHEME}${repository.host}/${repository.name}`;
}

/** `tag@sha256:…`; the digest alone where no tag was asked for (or the reference was the digest itself). */
export function formatRevision(tag: string | undefined, digest: string): string {
  return tag === undefined || tag === digest ? digest : `${tag}@${digest}`;
}

/** Host that serves the API of a registry: Docker Hub's differs from its name. */
export function apiHost(host: string): string {
  return host === DOCKER_HUB ? 'registry-1.docker.io' : host;
}
