import { isIPv6 } from 'node:net';
import { parseDocument } from 'yaml';
import { canonicalJson } from './plan.ts';

/** Why two values are the same thing written otherwise; docs/drift.md lists them. */
const NOISE = ['absent', 'empty', 'scalar', 'json', 'yaml', 'pem', 'timestamp', 'ipv6'] as const;
export type Noise = (typeof NOISE)[number];

/** Longer documents are compared as they are: reading them would cost more than a person's look. */
const MAX_DOCUMENT_CHARS = 256 * 1024;

/** Where a text of several lines is known to be a document, so that white space around its parts says nothing. */
const DOCUMENT_KEY = /(?:policy|document|manifest|template|definition)$/i;

/** A double holds this many digits for sure; longer numbers could differ and read the same. */
const LONG_NUMBER = /\d{16}/;

function isAbsent(value: unknown): boolean {
  return value === undefined || value === null;
}

function isEmpty(value: unknown): boolean {
  if (Array.isArray(value)) return value.length === 0;
  return value === '' || (typeof value === 'object' && value !== null && Object.keys(value).length === 0);
}

/** `"80"` and 80, `"true"` and true: only where the text is exactly how the other would be written. */
function isSameScalar(one: unknown, other: unknown): boolean {
  if (typeof one === 'string') return typeof other !== 'string' && isSameScalar(other, one);
  return (typeof one === 'number' || typeof one === 'boolean') && typeof other === 'string' && String(one) === other;
}

function countKeys(value: unknown): number {
  if (typeof value !== 'object' || value === null) return 0;
  const own = Array.isArray(value) ? 0 : Object.keys(value).length;
  return Object.values(value).reduce<number>((sum, item) => sum + countKeys(item), own);
}

/** The document a text is; undefined when reading it would lose something. @throws when it is none. */
function readJson(text: string): object | undefined {
  if (!/^\s*[[{]/.test(text) || text.length > MAX_DOCUMENT_CHARS || LONG_NUMBER.test(text)) return undefined;
  const value: unknown = JSON.parse(text);
  const written = [...text.matchAll(/"(?:[^"\\]|\\.)*"(\s*:)?/g)].filter(([, colon]) => colon !== undefined).length;
  // A key that stands twice is read once, and not by everybody the same one.
  return typeof value === 'object' && value !== null && countKeys(value) === written ? value : undefined;
}

function readYaml(text: string): object | undefined {
  if (!text.trimEnd().includes('\n') || text.length > MAX_DOCUMENT_CHARS || LONG_NUMBER.test(text)) return undefined;
  const document = parseDocument(text, { prettyErrors: false, logLevel: 'silent' });
  if (document.errors.length > 0 || document.warnings.length > 0) return undefined;
  const value: unknown = document.toJS({ maxAliasCount: 100 });
  return typeof value === 'object' && value !== null ? value : undefined;
}

function isSameDocument(read: (text: string) => object | undefined, one: string, other: string): boolean {
  try {
    const [first, second] = [read(one), read(other)];
    return first !== undefined && second !== undefined && canonicalJson(first) === canonicalJson(second);
  } catch {
    // No document, or one that nests deeper than the stack.
    return false;
  }
}

/** RFC 3339 with date, time and offset; the instant in nanoseconds or finer, as a text that compares. */
function instantOf(text: string): string | undefined {
  const parts = /^(\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2})(?:\.(\d{1,12}))?(Z|[+-]\d{2}:\d{2})$/.exec(text);
  if (parts === null) return undefined;
  const ms = Date.parse(`${parts[1]}${parts[3]}`);
  return Number.isNaN(ms) ? undefined : `${ms}.${(parts[2] ?? '').replace(/0+$/, '')}`;
}

/** An IPv6 address or network in its one canonical form (RFC 5952); bits behind the prefix stay as they are. */
function ipv6Of(text: string): string | undefined {
  const [address = '', prefix, ...more] = text.split('/');
  if (!isIPv6(address) || address.includes('%') || more.length > 0) return undefined;
  return `${URL.parse(`http://[${address}]`)?.hostname ?? address}/${prefix ?? ''}`;
}

function isSame(read: (text: string) => string | undefined, one: string, other: string): boolean {
  const first = read(one);
  return first !== undefined && first === read(other);
}

function isPem(text: string): boolean {
  return text.startsWith('-----BEGIN ');
}

function sameText(one: string, other: string, path: string): Noise | undefined {
  if (isSameDocument(readJson, one, other)) return 'json';
  if (isSame(instantOf, one, other)) return 'timestamp';
  if (isSame(ipv6Of, one, other)) return 'ipv6';
  if (isPem(one) && one.trimEnd() === other.trimEnd()) return 'pem';
  if (DOCUMENT_KEY.test(path) && isSameDocument(readYaml, one, other)) return 'yaml';
  return undefined;
}

/**
 * The rule by which a value only changed its form, or undefined when it changed. Case, order in lists, `false` and 0 beside
 * nothing, and whatever else may mean something are never taken for noise.
 * @param named the provider itself reports this path: then nothing and an empty value are two things to it.
 */
export function noiseOf(before: unknown, after: unknown, at: { path: string; named: boolean }): Noise | undefined {
  if (isAbsent(before) && isAbsent(after)) return 'absent';
  if (!at.named && ((isAbsent(before) && isEmpty(after)) || (isEmpty(before) && isAbsent(after)))) return 'empty';
  if (isSameScalar(before, after)) return 'scalar';
  return typeof before === 'string' && typeof after === 'string' ? sameText(before, after, at.path) : undefined;
}
