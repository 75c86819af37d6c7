import { formsOf } from './secret-forms.ts';

/** Removes registered secrets from texts. */
export interface Scrubber {
  /** Adds a secret in all its forms; values under 4 characters are ignored. Call it the moment a secret is read. */
  register(secret: string): void;
  scrub(text: string): string;
  /** Scrubs a text that comes in pieces: a secret split over two of them does not get through either. */
  stream(): ScrubStream;
}

export interface ScrubStream {
  /** What of the text so far is safe to show; an end that may be the start of a secret is held back. */
  write(text: string): string;
  /** What was held back. */
  end(): string;
}

export const MASK = '[secret]';

/** Characters of a form that find its candidates; no form is shorter. */
const HEAD = 4;

/** Forms by their first four characters, with a bit map over the first two that rules most positions out at once. */
interface Index {
  heads: Map<string, string[]>;
  /** Starts of one to three characters, for the end of a piece. */
  starts: Set<string>;
  pairs: Uint8Array;
}

function pairOf(text: string, at: number): number {
  return (text.charCodeAt(at) * 31 + text.charCodeAt(at + 1)) & 0xffff;
}

function addForm(index: Index, form: string): void {
  const head = form.slice(0, HEAD);
  const known = index.heads.get(head) ?? [];
  if (known.includes(form)) return;
  // The longest first: it is the one that leaves nothing behind.
  index.heads.set(
    head,
    [...known, form].sort((a, b) => b.length - a.length),
  );
  for (let length = 1; length < HEAD; length += 1) index.starts.add(form.slice(0, length));
  index.pairs[pairOf(form, 0)] = 1;
}

function candidates(index: Index, text: string, at: number): readonly string[] {
  if (index.pairs[pairOf(text, at)] === 0) return [];
  return index.heads.get(text.slice(at, at + HEAD)) ?? [];
}

/** Whether the rest of the text is the beginning of a longer form. */
function mayGoOn(index: Index, text: string, at: number): boolean {
  const left = text.length - at;
  if (left < HEAD) return index.starts.has(text.slice(at));
  return candidates(index, text, at).some((form) => form.length > left && form.startsWith(text.slice(at)));
}

/** Scrubs up to where a form may still be incomplete (`more`), or to the end. */
function scan(index: Index, longest: number, text: string, more: boolean): { out: string; rest: string } {
  let out = '';
  let from = 0;
  for (let at = 0; at < text.length;) {
    if (more && text.length - at < longest && mayGoOn(index, text, at)) {
      return { out: out + text.slice(from, at), rest: text.slice(at) };
    }
    const form = candidates(index, text, at).find((candidate) => text.startsWith(candidate, at));
    if (form === undefined) {
      at += 1;
      continue;
    }
    out += text.slice(from, at) + MASK;
    at += form.length;
    from = at;
  }
  return { out: out + text.slice(from), rest: '' };
}

/** Makes an empty scrubber; one per process. */
export function createScrubber(): Scrubber {
  const index: Index = { heads: new Map(), starts: new Set(), pairs: new Uint8Array(0x1_0000) };
  const secrets = new Set<string>();
  let longest = 0;
  return {
    register(secret) {
      if (secret.length < HEAD || secrets.has(secret)) return;
      secrets.add(secret);
      for (const form of formsOf(secret)) {
        if (form.length < HEAD) continue;
        addForm(index, form);
        longest = Math.max(longest, form.length);
      }
    },
    scrub: (text) => (longest === 0 ? text : scan(index, longest, text, false).out),
    stream() {
      let held = '';
      return {
        write(text) {
          const { out, rest } = scan(index, longest, held + text, true);
          held = rest;
          return out;
        },
        end() {
          const { out } = scan(index, longest, held, false);
          held = '';
          return out;
        },
      };
    },
  };
}

/** Every text in plain data scrubbed, names of fields among them. */
export function scrubDeep(scrubber: Pick<Scrubber, 'scrub'>, value: unknown): unknown {
  if (typeof value === 'string') return scrubber.scrub(value);
  if (Array.isArray(value)) return value.map((item) => scrubDeep(scrubber, item));
  if (typeof value !== 'object' || value === null || Object.getPrototypeOf(value) !== Object.prototype) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [scrubber.scrub(key), scrubDeep(scrubber, item)]),
  );
}

/**
 * Plain data in which a text that holds a secret is wholly the mask, as the engine itself masks values: what is masked so can
 * be put back from where it is known. Names of fields stay.
 */
export function maskWhole(scrubber: Pick<Scrubber, 'scrub'>, value: unknown): unknown {
  if (typeof value === 'string') return scrubber.scrub(value) === value ? value : MASK;
  if (Array.isArray(value)) return value.map((item) => maskWhole(scrubber, item));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, maskWhole(scrubber, item)]));
}
