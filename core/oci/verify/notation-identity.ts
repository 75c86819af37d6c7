import { stalled, type ReconcileError } from '#core/domain/errors.ts';

/** One attribute of a distinguished name, its type by the usual name (`O`) or else as an OID. */
export interface Attribute {
  type: string;
  value: string;
}

/** Whom a Notation policy trusts: everybody below its roots, or subjects that hold all these attributes. */
export type TrustedIdentity = { type: 'any' } | { type: 'subject'; attributes: ReadonlyMap<string, string> };

const PREFIX = 'x509.subject:';
/** RFC 4514 section 3, and what Go and OpenSSL print besides. */
const NAMES: ReadonlySet<string> = new Set('CN L ST O OU C STREET DC UID E SERIALNUMBER POSTALCODE'.split(' '));
const ALIASES: Readonly<Record<string, string>> = { S: 'ST', EMAILADDRESS: 'E' };
const REQUIRED = ['C', 'ST', 'O'];

interface Token {
  text: string;
  escaped: boolean;
}

function invalid(identity: string, why: string): ReconcileError {
  return stalled(
    'SpecInvalid',
    `the trusted identity ${JSON.stringify(identity)} of the Notation policy is not valid: ${why}; write "x509.subject: C=…, ST=…, O=…" or "*"`,
  );
}

function decodeHex(pairs: string, identity: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(Buffer.from(pairs.replaceAll('\\', ''), 'hex'));
  } catch {
    throw invalid(identity, `${pairs} is no UTF-8`);
  }
}

/** Characters with their escapes undone (RFC 4514 section 3, `pair`); adjoining hex pairs are one run of UTF-8. */
function tokenize(text: string, identity: string): Token[] {
  return Array.from(text.matchAll(/((?:\\[0-9a-fA-F]{2})+)|\\([ "#+,;<=>\\])|([^\\])|\\/gsu), (match) => {
    const [, hex, special, plain] = match;
    if (hex !== undefined) return { text: decodeHex(hex, identity), escaped: true };
    if (special !== undefined) return { text: special, escaped: true };
    if (plain !== undefined) return { text: plain, escaped: false };
    throw invalid(identity, 'a backslash escapes nothing');
  });
}

const isPlain = (token: Token | undefined, text: string) => token?.escaped === false && token.text === text;

function trimmed(tokens: Token[]): Token[] {
  let [start, end] = [0, tokens.length];
  while (start < end && isPlain(tokens[start], ' ')) start += 1;
  while (end > start && isPlain(tokens[end - 1], ' ')) end -= 1;
  return tokens.slice(start, end);
}

function splitAtCommas(tokens: Token[]): Token[][] {
  const parts: Token[][] = [[]];
  for (const token of tokens) {
    if (isPlain(token, ',')) parts.push([]);
    else parts.at(-1)?.push(token);
  }
  return parts;
}

function parseAttribute(tokens: Token[], identity: string): [string, string] {
  const equals = tokens.findIndex((token) => isPlain(token, '='));
  if (equals === -1) throw invalid(identity, 'a part of it is not of the form NAME=value');
  const written = tokens.slice(0, equals).map((token) => token.text);
  const upper = written.join('').trim().toUpperCase();
  const type = ALIASES[upper] ?? upper;
  if (!NAMES.has(type)) throw invalid(identity, `${JSON.stringify(upper)} is none of ${[...NAMES].join(', ')}`);
  const value = trimmed(tokens.slice(equals + 1));
  const special = value.find(({ text, escaped }) => !escaped && ['"', '+', ';', '<', '>', '\0'].includes(text));
  if (special !== undefined) throw invalid(identity, `${special.text} must be written as \\${special.text}`);
  if (value.length === 0) throw invalid(identity, `${type} has no value`);
  if (isPlain(value[0], '#')) throw invalid(identity, 'a # at the start of a value must be written as \\#');
  return [type, value.map((token) => token.text).join('')];
}

/**
 * Reads an entry of `trustedIdentities` (notaryproject/specifications trust-store-trust-policy.md, "Trusted Identities
 * Constraints"): C, ST (or S) and O must be named, each attribute once, escaped as in RFC 4514.
 * @throws ReconcileError stalled SpecInvalid
 */
export function parseTrustedIdentity(identity: string): TrustedIdentity {
  const text = identity.trim();
  if (text === '*') return { type: 'any' };
  if (!text.startsWith(PREFIX)) throw invalid(identity, `it does not start with ${PREFIX}`);
  const attributes = new Map<string, string>();
  for (const part of splitAtCommas(tokenize(identity.trimStart().slice(PREFIX.length), identity))) {
    const [type, value] = parseAttribute(part, identity);
    if (attributes.has(type)) throw invalid(identity, `${type} is there twice`);
    attributes.set(type, value);
  }
  const missing = REQUIRED.find((type) => !attributes.has(type));
  if (missing !== undefined) throw invalid(identity, `${missing} is missing`);
  return { type: 'subject', attributes };
}

/**
 * Whether the subject of a certificate is a trusted one. The order of attributes does not matter; one that the policy names
 * must be in the subject exactly once, so that `O=good, O=evil` is not `O=good`.
 */
export function isTrustedSubject(subject: readonly Attribute[], trusted: TrustedIdentity): boolean {
  if (trusted.type === 'any') return true;
  return [...trusted.attributes].every(([type, value]) => {
    const found = subject.filter((attribute) => attribute.type === type);
    return found.length === 1 && found[0]?.value === value;
  });
}

/** `C=…, ST=…, O=…`, escaped as in RFC 4514, without control characters, at most 256 characters. */
export function formatSubject(subject: readonly Attribute[]): string {
  const escape = (value: string) => value.replace(/[\\,+"<>;=]|^[ #]| $/g, '\\$&');
  const text = subject.map(({ type, value }) => `${type}=${escape(value)}`).join(', ');
  return text.replace(/\p{C}/gu, '?').slice(0, 256);
}
