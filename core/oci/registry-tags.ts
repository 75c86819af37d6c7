import { isTag, type Repository } from '#core/domain/reference.ts';
import { field, parseJson, readAll } from './body.ts';
import { listPages } from './pages.ts';
import type { Session } from './session.ts';
import { assertAnswered } from './status.ts';

const PAGE_SIZE = 1000;
const MAX_PAGE_BYTES = 4 * 1024 * 1024;

/**
 * All tags of a repository; what is no tag is passed over.
 * @throws ReconcileError SourceNotFound | SourceUnauthorized | SourceUnreachable, the last also for endless pages
 */
export async function listTags(
  session: Session,
  repository: Repository,
  limitMs: number,
  signal: AbortSignal,
): Promise<string[]> {
  const what = `tags of ${repository.host}/${repository.name}`;
  const first = `/v2/${repository.name}/tags/list?n=${PAGE_SIZE}`;
  const tags = new Set<string>();
  for await (const response of listPages({ session, repository, first, what, limitMs, signal })) {
    await assertAnswered(response, what);
    const page = field(parseJson(await readAll(response, MAX_PAGE_BYTES, what)), 'tags');
    const names: unknown[] = Array.isArray(page) ? page : [];
    for (const name of names) if (typeof name === 'string' && isTag(name)) tags.add(name);
  }
  return [...tags];
}
