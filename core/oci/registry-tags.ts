import { transient } from '#core/domain/errors.ts';
import { isTag, type Repository } from '#core/domain/reference.ts';
import { field, parseJson, readAll } from './body.ts';
import { nextLink } from './link.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

const PAGE_SIZE = 1000;
const MAX_PAGES = 200;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

function nextPage(link: string | undefined, current: URL, what: string): URL | undefined {
  if (link === undefined) return undefined;
  if (!URL.canParse(link, current.href))
    throw transient('SourceUnreachable', `${what}: the link to the next page is no URL`);
  const next = new URL(link, current);
  if (next.origin === current.origin) return next;
  throw transient('SourceUnreachable', `${what}: refused the link to the next page at ${next.origin}`);
}

/**
 * All tags of a repository, following `Link: rel="next"` on the same origin (distribution-spec, "Listing Tags").
 * @throws ReconcileError SourceNotFound | SourceUnauthorized | SourceUnreachable, the last also for endless pages
 */
export async function listTags(
  session: Session,
  repository: Repository,
  limitMs: number,
  signal: AbortSignal,
): Promise<string[]> {
  const what = `tags of ${repository.host}/${repository.name}`;
  const tags = new Set<string>();
  const seen = new Set<string>();
  let target: string | URL = `/v2/${repository.name}/tags/list?n=${PAGE_SIZE}`;
  while (seen.size < MAX_PAGES) {
    const response = await session.send({ method: 'GET', repository, target, access: 'pull', limitMs, signal });
    await assertAnswered(response, what);
    seen.add(response.url.href);
    const page = field(parseJson(await readAll(response, MAX_PAGE_BYTES, what)), 'tags');
    const names: unknown[] = Array.isArray(page) ? page : [];
    for (const name of names) if (typeof name === 'string' && isTag(name)) tags.add(name);
    const next = nextPage(nextLink(response.header('link')), response.url, what);
    if (next === undefined) return [...tags];
    if (seen.has(next.href)) throw transient('SourceUnreachable', `${what}: the pages go round in a circle`);
    target = next;
  }
  throw transient('SourceUnreachable', `${what}: more than ${MAX_PAGES} pages; name a tag instead of a semver range`);
}
