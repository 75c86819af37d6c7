const MAX_HEADER = 8192;
/** RFC 8288 link-value; anchored parts without nesting, so no back-tracking blow-up. */
const LINK_VALUE = /<([^<>]*)>([^<]*)/g;

/**
 * Target of `rel="next"` in a Link header (RFC 8288), or undefined.
 * It may be relative; the caller resolves it and checks its origin.
 */
export function nextLink(header: string | undefined): string | undefined {
  if (header === undefined) return undefined;
  for (const [, target, params = ''] of header.slice(0, MAX_HEADER).matchAll(LINK_VALUE)) {
    const rel = /;\s*rel\s*=\s*(?:"([^"]*)"|([^\s;,"]+))/i.exec(params);
    const names = (rel?.[1] ?? rel?.[2] ?? '').toLowerCase().split(/\s+/);
    if (names.includes('next')) return target;
  }
  return undefined;
}
