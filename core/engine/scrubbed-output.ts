/** A line that never ends is cut here, so that the buffer stays small. */
const MAX_LINE_CHARS = 16 * 1024;
const SHORTEST_SECRET = 4;

/** Replaces every given secret; short ones would blank out ordinary words. */
export function createScrub(secrets: string[]): (text: string) => string {
  const known = [...new Set(secrets)].filter((secret) => secret.length >= SHORTEST_SECRET).sort((a, b) => b.length - a.length);
  return (text) => known.reduce((scrubbed, secret) => scrubbed.replaceAll(secret, '[secret]'), text);
}

/** Takes the engine's output piece by piece. */
export interface ScrubbedOutput {
  write(text: string): void;
  /** Passes on the last line, which may have no end. */
  flush(): void;
}

/** Passes output on in whole lines, so that a secret cut in two by the pipe is still found. */
export function createScrubbedOutput(scrub: (text: string) => string, emit: (text: string) => void): ScrubbedOutput {
  let held = '';
  const passTo = (end: number) => {
    if (end > 0) emit(scrub(held.slice(0, end)));
    held = held.slice(end);
  };
  return {
    write(text) {
      held += text;
      passTo(held.length > MAX_LINE_CHARS ? held.length : held.lastIndexOf('\n') + 1);
    },
    flush: () => passTo(held.length),
  };
}
