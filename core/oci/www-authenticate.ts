/** One challenge of a WWW-Authenticate header; scheme and parameter names are lower-case. */
export interface Challenge {
  scheme: string;
  params: Readonly<Record<string, string>>;
}

type Token =
  | { type: 'word'; text: string; spaceBefore: boolean }
  | { type: 'quoted'; text: string }
  | { type: 'comma' }
  | { type: 'equals' };

const WORD = /[!#$%&'*+\-.^_`|~0-9A-Za-z/:]+/y;
const MAX_HEADER = 8192;

function readQuoted(header: string, start: number): { text: string; end: number } {
  let text = '';
  let at = start;
  while (at < header.length && header[at] !== '"') {
    if (header[at] === '\\') at += 1;
    text += header[at] ?? '';
    at += 1;
  }
  return { text, end: at + 1 };
}

function tokenize(header: string): Token[] {
  const tokens: Token[] = [];
  let at = 0;
  let space = true;
  while (at < header.length) {
    const char = header[at];
    WORD.lastIndex = at;
    const word = WORD.exec(header)?.[0];
    if (word !== undefined) {
      tokens.push({ type: 'word', text: word, spaceBefore: space });
      at += word.length;
    } else if (char === '"') {
      const quoted = readQuoted(header, at + 1);
      tokens.push({ type: 'quoted', text: quoted.text });
      at = quoted.end;
    } else {
      if (char === ',') tokens.push({ type: 'comma' });
      if (char === '=') tokens.push({ type: 'equals' });
      at += 1;
    }
    space = char === ' ' || char === '\t' || char === ',';
  }
  return tokens;
}

/**
 * Parses `WWW-Authenticate` (RFC 9110, section 11.6.1): several challenges, quoted commas and escapes, and headers
 * that were joined with a comma. Never throws: what cannot be read is passed over, the first of doubled parameters
 * counts.
 */
export function parseChallenges(header: string): Challenge[] {
  const tokens = tokenize(header.slice(0, MAX_HEADER));
  const challenges: Array<{ scheme: string; params: Map<string, string> }> = [];
  for (const [index, token] of tokens.entries()) {
    if (token.type !== 'word') continue;
    const previous = tokens[index - 1];
    if (previous?.type === 'equals') continue;
    const next = tokens[index + 1];
    if (next?.type !== 'equals') {
      if (token.spaceBefore) challenges.push({ scheme: token.text.toLowerCase(), params: new Map() });
      continue;
    }
    const value = tokens[index + 2];
    const params = challenges.at(-1)?.params;
    const name = token.text.toLowerCase();
    if (params === undefined || params.has(name) || (value?.type !== 'word' && value?.type !== 'quoted')) continue;
    params.set(name, value.text);
  }
  return challenges.map(({ scheme, params }) => ({ scheme, params: Object.fromEntries(params) }));
}
