import { transient } from '#core/domain/errors.ts';
import type { Repository } from '#core/domain/reference.ts';
import type { HttpResponse } from './http.ts';
import { nextLink } from './link.ts';
import type { Session } from './session.ts';

const MAX_PAGES = 200;

function nextPage(response: HttpResponse, what: string): URL | undefined {
  const link = nextLink(response.header('link'));
  if (link === undefined) return undefined;
  const current = response.url;
  if (!URL.canParse(link, current.href))
    throw transient('SourceUnreachable', `${what}: the link to the next page is no URL`);
  const next = new URL(link, current);
  if (next.origin === current.origin) return next;
  throw transient('SourceUnreachable', `${what}: refused the link to the next page at ${next.origin}`);
}

export interface Listing {
  session: Session;
  repository: Repository;
  /** Path of the first page. */
  first: string;
  /** Names the listing in messages. */
  what: string;
  headers?: Record<string, string>;
  /** Milliseconds a page may take. */
  limitMs: number;
  signal: AbortSignal;
}

/**
 * The pages of a listing: `Link: rel="next"` on the same origin is followed until there is none, however short a page
 * (distribution-spec, "Listing Tags"). Whoever iterates reads or drops each answer before asking for the next.
 * @throws ReconcileError transient SourceUnreachable for pages without end, in a circle or at another origin
 */
export async function* listPages(listing: Listing): AsyncGenerator<HttpResponse, void> {
  const { session, first, what, ...rest } = listing;
  const seen = new Set<string>();
  let target: string | URL = first;
  while (seen.size < MAX_PAGES) {
    const response = await session.send({ ...rest, method: 'GET', target, access: 'pull' });
    seen.add(response.url.href);
    yield response;
    const next = nextPage(response, what);
    if (next === undefined) return;
    if (seen.has(next.href)) throw transient('SourceUnreachable', `${what}: the pages go round in a circle`);
    target = next;
  }
  throw transient('SourceUnreachable', `${what}: more than ${MAX_PAGES} pages`);
}
