/** Largest piece handed on at once, in bytes. */
const PIECE_BYTES = 64 * 1024;
/** A line that never ends is cut here, so that the buffer stays small. */
const MAX_LINE_CHARS = 16 * 1024;
const SHORTEST_SECRET = 4;

/** Replaces every given secret; short ones would blank out ordinary words. */
export function createScrub(secrets: string[]): (text: string) => string {
  const known = [...new Set(secrets)].filter((secret) => secret.length >= SHORTEST_SECRET).sort((a, b) => b.length - a.length);
  return (text) => known.reduce((scrubbed, secret) => scrubbed.replaceAll(secret, '[secret]'), text);
}

/** Takes the engine's output piece by piece. */
export interface OutputSink {
  write(text: string): void;
  flush(): void;
}

/**
 * Passes output on line by line, so that a secret cut in two by the pipe is still found, and at most `limit` bytes of it.
 * The rest is dropped with one notice.
 */
export function createOutputSink(options: { limit: number; scrub: (text: string) => string; emit: (text: string) => void }): OutputSink {
  let held = '';
  let left = options.limit;
  const pass = (text: string) => {
    if (left <= 0 || text === '') return;
    const bytes = Buffer.from(options.scrub(text), 'utf8');
    for (let start = 0; start < Math.min(bytes.length, left); start += PIECE_BYTES) {
      options.emit(bytes.subarray(start, Math.min(start + PIECE_BYTES, left)).toString('utf8'));
    }
    left -= bytes.length;
    if (left <= 0) options.emit(`\n[output over ${options.limit} bytes dropped]\n`);
  };
  return {
    write(text) {
      if (left <= 0) return;
      held += text;
      const end = held.length > MAX_LINE_CHARS ? held.length : held.lastIndexOf('\n') + 1;
      pass(held.slice(0, end));
      held = held.slice(end);
    },
    flush() {
      pass(held);
      held = '';
    },
  };
}

/** Keeps the last `limit` characters of a stream: errors stand at the end. */
export function createTail(limit: number): { add(text: string): void; text(): string } {
  let kept = '';
  return {
    add: (text) => void (kept = (kept + text).slice(-limit)),
    text: () => kept,
  };
}
