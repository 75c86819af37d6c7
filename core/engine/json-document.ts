/** A JSON object of unknown content: states, plans and project files are read field by field. */
export type Document = Record<string, unknown>;

export function isDocument(value: unknown): value is Document {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** The object under a key; an empty one where there is none. */
export function documentAt(document: Document, key: string): Document {
  const value = document[key];
  return isDocument(value) ? value : {};
}

/** The objects of a list under a key; none where there is no list. */
export function documentsAt(document: Document, key: string): Document[] {
  const value = document[key];
  return Array.isArray(value) ? value.filter(isDocument) : [];
}

/** The text under a key; empty where there is none. */
export function textAt(document: Document, key: string): string {
  const value = document[key];
  return typeof value === 'string' ? value : '';
}
