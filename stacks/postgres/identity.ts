/** Id of an object inside others, such as `shop/api/reader`: what people type when they import it. */
export function joinId(parts: readonly string[]): string {
  return parts.map((part) => encodeURIComponent(part)).join('/');
}

/** The parts of such an id. */
export function splitId(id: string): string[] {
  return id.split('/').map((part) => decodeURIComponent(part));
}

/** What PostgreSQL would silently cut, refused: a name is 1 to 63 bytes long (NAMEDATALEN - 1) and holds no NUL. */
export function nameProblem(name: string): string | undefined {
  if (typeof name !== 'string' || name === '') return 'must be a name';
  if (Buffer.byteLength(name) > 63) return 'is longer than the 63 bytes PostgreSQL keeps';
  if (name.includes('\0')) return 'holds a NUL character';
  return undefined;
}

/** The properties of `news` that differ from `olds`. */
export function changedProperties(olds: object, news: object, properties: readonly string[]): string[] {
  return properties.filter(
    (property) => JSON.stringify(Reflect.get(olds, property)) !== JSON.stringify(Reflect.get(news, property)),
  );
}
