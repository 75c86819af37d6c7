/** Lines of a secret shorter than this are not looked for by themselves. */
const LEAST_LINE = 8;

function jsonEscaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** Every character that `encodeURIComponent` leaves though stricter encoders (RFC 3986, Go's QueryEscape) do not. */
function strictUrlEncoded(text: string): string {
  return encodeURIComponent(text).replace(/[!'()*]/g, (char) => `%${char.charCodeAt(0).toString(16).toUpperCase()}`);
}

function urlForms(text: string): string[] {
  const encoded = [encodeURIComponent(text), strictUrlEncoded(text)];
  const all = encoded.flatMap((form) => [form, form.replaceAll('%20', '+')]);
  return all.flatMap((form) => [form, form.replace(/%[0-9A-F]{2}/g, (code) => code.toLowerCase())]);
}

/**
 * What stays of a secret in base64 when `before` bytes (0, 1 or 2 of three) precede it and anything follows: only the
 * characters whose six bits are all its own.
 */
function base64Aligned(bytes: Buffer, before: number): string[] {
  const text = Buffer.concat([Buffer.alloc(before), bytes]).toString('base64');
  const first = Math.ceil((before * 8) / 6);
  const own = text.slice(first, Math.floor(((before + bytes.length) * 8) / 6));
  return [own, own.replaceAll('+', '-').replaceAll('/', '_')];
}

/**
 * The ways a secret shows up in output: plain, escaped in JSON (once, and again inside a JSON string), URL-encoded, and in
 * base64 at any of its three alignments. Long lines of a secret of several lines count as secrets of their own, because output is cut at
 * lines.
 */
export function formsOf(secret: string): Set<string> {
  const whole = secret.toWellFormed();
  const lines = whole.split(/\r?\n/).filter((line) => line.length >= LEAST_LINE && !line.startsWith('-----'));
  const forms = new Set<string>();
  for (const text of new Set([whole, whole.trim(), ...lines])) {
    const bytes = Buffer.from(text);
    const aligned = [0, 1, 2].flatMap((before) => base64Aligned(bytes, before));
    const escaped = jsonEscaped(text);
    for (const form of [text, escaped, jsonEscaped(escaped), ...urlForms(text), ...aligned]) forms.add(form);
  }
  return forms;
}
