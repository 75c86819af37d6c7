import { stalled } from '../domain/errors.ts';
import { documentAt, isDocument, textAt, type Document } from './json-document.ts';
import { UNKNOWN } from './plan-file.ts';
import { SECRET } from './property-diff.ts';

function holds(value: unknown, marks: readonly string[]): boolean {
  if (typeof value === 'string') return marks.includes(value);
  if (Array.isArray(value)) return value.some((item) => holds(item, marks));
  return isDocument(value) && Object.values(value).some((item) => holds(item, marks));
}

/** A resource as events show it, with each masked input taken from the first source that knows it as ciphertext. */
export function unmasked(resource: Document, sources: Document[]): Document {
  const inputs = Object.entries(documentAt(resource, 'inputs')).map(([key, value]) => {
    if (!holds(value, [SECRET])) return [key, value];
    const known = sources
      .map((source) => source[key])
      .find((item) => item !== undefined && !holds(item, [UNKNOWN, SECRET]));
    return [key, known ?? value];
  });
  return { ...resource, inputs: Object.fromEntries(inputs) };
}

/** @throws stalled(PendingOperations) where a secret of the resource is known to nobody any more. */
export function requireUnmasked(resource: Document): Document {
  if (!holds(resource['inputs'], [SECRET, UNKNOWN])) return resource;
  throw stalled(
    'PendingOperations',
    `${textAt(resource, 'urn')} cannot be imported: it has a secret that nothing recorded. Delete it by hand and answer clear`,
    { wrongAnswers: [textAt(resource, 'urn')] },
  );
}
