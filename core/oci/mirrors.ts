import { ReconcileError } from '#core/domain/errors.ts';
import { isDigest, type Repository } from '#core/domain/reference.ts';
import type { HttpResponse } from './http.ts';
import { entryOf, hostKey, type Mirror, type RegistrySettings } from './registries.ts';

/** A request put to a mirror. */
export interface MirrorRequest {
  repository: Repository;
  plainHttp: boolean;
  /** A path at the mirror. */
  target: string;
}

export interface Mirrors {
  /** The mirrors to ask before the registry, in order; none for what must be asked of the registry itself. */
  of(repository: Repository, target: string | URL): MirrorRequest[];
  /** Leaves a mirror that did not answer out for a while. */
  rest(host: string): void;
}

/** How long a mirror that did not answer is left out: it must not slow down every pull. */
const REST_MS = 60_000;

function isContent(path: string): boolean {
  const [reference = ''] = path.split('/').slice(-1);
  return isDigest(reference) && !path.includes('/referrers/');
}

function atMirror({ host, plainHttp, prefix }: Mirror, { name }: Repository, path: string): MirrorRequest {
  const there = prefix === '' ? name : `${prefix}/${name}`;
  return { repository: { host, name: there }, plainHttp, target: `/v2/${there}${path}` };
}

/** The mirror that sent us to another page of its own list. */
function nextPage(mirrors: readonly Mirror[], repository: Repository, target: URL): MirrorRequest[] {
  const mirror = mirrors.find(
    ({ host, plainHttp }) => hostKey(host) === hostKey(target.host) && plainHttp === (target.protocol === 'http:'),
  );
  if (mirror === undefined) return [];
  return [{ ...atMirror(mirror, repository, ''), target: `${target.pathname}${target.search}` }];
}

/** Which mirrors serve a request: content by its digest, and names where `mirrorTags` is set. */
export function createMirrors(settings: RegistrySettings): Mirrors {
  const restsUntil = new Map<string, number>();
  return {
    of(repository, target) {
      const { mirrors, mirrorTags } = entryOf(settings, repository.host);
      if (mirrors.length === 0) return [];
      if (typeof target !== 'string') return mirrorTags ? nextPage(mirrors, repository, target) : [];
      const root = `/v2/${repository.name}`;
      const path = target.slice(root.length);
      if (!target.startsWith(`${root}/`) || (!mirrorTags && !isContent(path))) return [];
      const now = Date.now();
      return mirrors
        .filter(({ host }) => (restsUntil.get(host) ?? 0) <= now)
        .map((mirror) => atMirror(mirror, repository, path));
    },
    rest(host) {
      restsUntil.set(host, Date.now() + REST_MS);
    },
  };
}

/** A mirror must have the very content that was asked for. */
function isGood(response: HttpResponse, target: string): boolean {
  const [reference = ''] = target.split('/').slice(-1);
  const declared = response.header('docker-content-digest');
  if (isDigest(reference) && declared !== undefined && declared !== reference) return false;
  return response.status === 200 || response.status === 206;
}

/** Asks each mirror once: the first good answer, or what each of them said. */
export async function askMirrors(
  mirrors: Mirrors,
  request: { repository: Repository; target: string | URL },
  ask: (asked: MirrorRequest) => Promise<HttpResponse>,
): Promise<HttpResponse | string[]> {
  const failures: string[] = [];
  for (const asked of mirrors.of(request.repository, request.target)) {
    const { host } = asked.repository;
    try {
      const response = await ask(asked);
      if (isGood(response, asked.target)) return response;
      await response.discard();
      failures.push(`mirror ${host} answered ${response.status}`);
    } catch (error) {
      if (!(error instanceof ReconcileError)) throw error;
      if (error.reason === 'SourceUnreachable') mirrors.rest(host);
      failures.push(`mirror ${host} failed: ${error.message}`);
    }
  }
  return failures;
}
