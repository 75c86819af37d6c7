import type { HttpResponse } from './http.ts';

/** Told what a registry warns of, each text of a host once; the text is printable and short. */
export type WarningListener = (host: string, text: string) => void;

/** distribution-spec, "Warnings": a registry sends no more than this in all headers together. */
const MAX_BYTES = 4096;
const SHOWN = 300;
/** Texts that are remembered as told; whoever varies them must not choose our memory. */
const MAX_TOLD = 1000;

/** A `warn-code` of 299 and a `warn-agent` of `-` (distribution-spec); what comes in another shape is passed over. */
const WARNING = /(?:^|,)\s*299 - "((?:[^"\\]|\\.)*)"/g;

/** The texts of `Warning` headers that were joined by commas. */
export function parseWarnings(header: string | undefined): string[] {
  if (header === undefined || header.length > MAX_BYTES) return [];
  const texts = [...header.matchAll(WARNING)].map(([, quoted = '']) => quoted.replace(/\\(.)/g, '$1'));
  // A registry chooses this text: control characters would let it forge log lines.
  return texts.map((text) => text.replace(/\p{C}/gu, ' ').slice(0, SHOWN)).filter((text) => text.trim() !== '');
}

/** Tells of the warnings of answers. Nothing else ever depends on them (distribution-spec, "Warnings"). */
export function createWarnings(listener: WarningListener): (host: string, response: HttpResponse) => void {
  const told = new Set<string>();
  return (host, response) => {
    for (const text of parseWarnings(response.header('warning'))) {
      const key = `${host} ${text}`;
      if (told.has(key)) continue;
      if (told.size >= MAX_TOLD) told.clear();
      told.add(key);
      listener(host, text);
    }
  };
}
