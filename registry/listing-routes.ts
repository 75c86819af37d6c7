import { RegistryError } from './errors.ts';
import { refuseMethod, sendBytes, type Exchange } from './exchange.ts';
import { INDEX_TYPE, MAX_MANIFEST_BYTES } from './manifest.ts';
import { hasRepository, listReferrers, listTags, type ReferrerDescriptor } from './manifest-store.ts';
import type { Digest } from './names.ts';

/** `/v2/<name>/tags/list?n=&last=` with a `Link` to the next page. */
export async function handleTags(exchange: Exchange, name: string): Promise<void> {
  if (!isRead(exchange)) return refuseMethod('GET', 'HEAD');
  const { layout } = exchange.context;
  if (!(await hasRepository(layout, name))) {
    throw new RegistryError('NAME_UNKNOWN', 'nothing was pushed to this repository');
  }
  const last = exchange.query.get('last');
  const tags = (await listTags(layout, name)).filter((tag) => last === null || tag > last);
  const limit = pageSize(exchange.query.get('n'));
  const page = tags.slice(0, limit);
  const next = page.length < tags.length ? page.at(-1) : undefined;
  const body = Buffer.from(JSON.stringify({ name, tags: page }));
  sendBytes(exchange, body, {
    'Content-Type': 'application/json',
    ...(next === undefined ? {} : { Link: nextLink(`/v2/${name}/tags/list`, { n: String(limit), last: next }) }),
  });
}

/** `/v2/<name>/referrers/<digest>?artifactType=`; unknown subjects have an empty list. */
export async function handleReferrers(exchange: Exchange, name: string, subject: Digest): Promise<void> {
  if (!isRead(exchange)) return refuseMethod('GET', 'HEAD');
  const artifactType = exchange.query.get('artifactType');
  const last = exchange.query.get('last');
  const referrers = (await listReferrers(exchange.context.layout, name, subject)).filter(
    (referrer) =>
      (artifactType === null || referrer.artifactType === artifactType) && (last === null || referrer.digest > last),
  );
  const page = firstPage(referrers);
  const next = page.length < referrers.length ? page.at(-1)?.digest : undefined;
  const filter: Record<string, string> = artifactType === null ? {} : { artifactType };
  const body = Buffer.from(JSON.stringify({ schemaVersion: 2, mediaType: INDEX_TYPE, manifests: page }));
  sendBytes(exchange, body, {
    'Content-Type': INDEX_TYPE,
    ...(artifactType === null ? {} : { 'OCI-Filters-Applied': 'artifactType' }),
    ...(next === undefined
      ? {}
      : { Link: nextLink(`/v2/${name}/referrers/${subject.text}`, { ...filter, last: next }) }),
  });
}

/** As many as make a document no larger than a manifest may be, at least one. */
function firstPage(referrers: ReferrerDescriptor[]): ReferrerDescriptor[] {
  let bytes = 0;
  const end = referrers.findIndex((referrer, index) => {
    bytes += JSON.stringify(referrer).length;
    return index > 0 && bytes > MAX_MANIFEST_BYTES / 2;
  });
  return end === -1 ? referrers : referrers.slice(0, end);
}

function pageSize(text: string | null): number {
  if (text === null) return Number.POSITIVE_INFINITY;
  if (!/^\d{1,9}$/.test(text)) throw new RegistryError('UNSUPPORTED', '"n" must be a whole number', { status: 400 });
  return Number(text);
}

function nextLink(path: string, query: Record<string, string>): string {
  return `<${path}?${new URLSearchParams(query).toString()}>; rel="next"`;
}

function isRead({ request }: Exchange): boolean {
  return request.method === 'GET' || request.method === 'HEAD';
}
