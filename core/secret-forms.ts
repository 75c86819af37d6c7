/** Lines of a secret shorter than this are not looked for by themselves. */
const LEAST_LINE = 8;

function jsonEscaped(text: string): string {
  return JSON.stringify(text).slice(1, -1);
}

/** As Go's encoding/json writes it, and with it the engine: safe inside HTML. */
function goJsonEscaped(text: string): string {
  return jsonEscaped(text).replace(
    /[<>&\u2028\u2029]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

/** As encoders write it that keep to ASCII (Python's json). */
function asciiJsonEscaped(text: string): string {
  return jsonEscaped(text).replace(
    /[\u0080-\uffff]/g,
    (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}

const ENTITIES: Record<string, string> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

function htmlEscaped(text: string): string {
  return text.replace(/[&<>"']/g, (char) => ENTITIES[char] ?? char);
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
 * The ways a secret shows up in output: plain, escaped in JSON (as JavaScript, Go and Python write it; once, and again inside
 * a JSON string) or HTML, URL-encoded, in hexadecimal digits, and in base64 at any of its three alignments. Long lines of a secret of several lines count as secrets of their own, because output is cut at
 * lines.
 */
export function formsOf(secret: string): Set<string> {
  const whole = secret.toWellFormed();
  const lines = whole.split(/\r?\n/).filter((line) => line.length >= LEAST_LINE && !line.startsWith('-----'));
  const forms = new Set<string>();
  for (const text of new Set([whole, whole.trim(), ...lines])) {
    const bytes = Buffer.from(text);
    const aligned = [0, 1, 2].flatMap((before) => base64Aligned(bytes, before));
    const escaped = [jsonEscaped(text), goJsonEscaped(text), asciiJsonEscaped(text)];
    const hex = bytes.toString('hex');
    const others = [htmlEscaped(text), hex, hex.toUpperCase()];
    const all = [text, ...escaped, ...escaped.map(jsonEscaped), ...urlForms(text), ...aligned, ...others];
    for (const form of all) forms.add(form);
  }
  return forms;
}
