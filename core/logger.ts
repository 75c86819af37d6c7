import pino, { type DestinationStream, type Logger } from 'pino';
import type { Scrubber } from './scrubber.ts';

export interface LoggerOptions {
  level: string;
  scrubber: Scrubber;
  /** Which process writes: `service`, `worker`. */
  name: string;
  /** Where lines go; standard output by default. */
  destination?: DestinationStream;
}

function scrubValue(value: unknown, scrubber: Scrubber): unknown {
  if (typeof value === 'string') return scrubber.scrub(value);
  if (typeof value === 'number') {
    const text = String(value);
    return scrubber.scrub(text) === text ? value : scrubber.scrub(text);
  }
  if (Array.isArray(value)) return value.map((item) => scrubValue(item, scrubber));
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [scrubber.scrub(key), scrubValue(item, scrubber)]),
  );
}

/** A secret of digits may lie inside a number, and one of letters behind a backslash: then the mask breaks the JSON. */
function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}

/** One line of the log without secrets, and still one line of JSON. */
export function scrubLine(line: string, scrubber: Scrubber): string {
  const scrubbed = scrubber.scrub(line);
  if (scrubbed === line || isJson(scrubbed) || !isJson(line)) return scrubbed;
  return `${JSON.stringify(scrubValue(JSON.parse(line), scrubber))}\n`;
}

/** A pino logger whose every line goes through the scrubber, whatever wrote it. */
export function createLogger(options: LoggerOptions): Logger {
  const { level, scrubber, name } = options;
  const settings = { level, name, hooks: { streamWrite: (line: string) => scrubLine(line, scrubber) } };
  return options.destination === undefined ? pino(settings) : pino(settings, options.destination);
}
