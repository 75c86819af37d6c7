import { field, parseJson } from '../body.ts';
import type { Statement } from './statement.ts';

/** What cosign calls custom: JSON in a text, with a time beside it (sigstore/cosign pkg/cosign/attestation). */
const COSIGN_CUSTOM = 'https://cosign.sigstore.dev/attestation/v1';

/** The predicate itself: cosign's custom ones and older ones keep it as `Data`, often as text. */
export function predicateOf({ predicate, predicateType }: Statement): unknown {
  const data = field(predicate, 'Data');
  const inner = data !== undefined && (predicateType === COSIGN_CUSTOM || field(predicate, 'Timestamp') !== undefined);
  const value = inner ? data : predicate;
  if (typeof value !== 'string') return value;
  return parseJson(Buffer.from(value)) ?? value;
}

/** A field by a path of names and numbers between dots; own fields only. */
export function atPath(value: unknown, path: string): unknown {
  let current = value;
  for (const name of path.split('.')) {
    if (typeof current !== 'object' || current === null || !Object.hasOwn(current, name)) return undefined;
    current = field(current, name);
  }
  return current;
}

/** A text by its path; undefined for anything else. */
export function textAt(value: unknown, path: string): string | undefined {
  const found = atPath(value, path);
  return typeof found === 'string' ? found : undefined;
}

/** A list by its path; undefined for anything else. */
export function listAt(value: unknown, path: string): unknown[] | undefined {
  const found = atPath(value, path);
  return Array.isArray(found) ? found : undefined;
}
