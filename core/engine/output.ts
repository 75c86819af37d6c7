import { StringDecoder } from 'node:string_decoder';
import type { Readable } from 'node:stream';

/** Longest piece handed on, in UTF-16 units: at most 64 KiB of UTF-8. */
const MAX_PIECE = 16 * 1024;

export interface CollectedOutput {
  stdout: string;
  stderr: string;
  /** Some of the output was dropped; the text then says how much, where. */
  truncated: boolean;
}

interface Kept {
  /** Holds back the bytes of a character that the next chunk ends. */
  decoder: StringDecoder;
  head: Buffer[];
  tail: Buffer[];
  tailBytes: number;
  dropped: number;
}

/** Drops a cut sequence at the start: continuation bytes are 10xxxxxx (RFC 3629). */
function decodeTail(bytes: Buffer): string {
  let start = 0;
  while (start < 3 && ((bytes[start] ?? 0) & 0xc0) === 0x80) start += 1;
  return bytes.toString('utf8', start);
}

function join(kept: Kept): string {
  const tail = Buffer.concat(kept.tail);
  if (kept.dropped === 0) return Buffer.concat([...kept.head, tail]).toString('utf8');
  // `write` without `end` leaves a cut sequence at the end out.
  const head = new StringDecoder('utf8').write(Buffer.concat(kept.head));
  return `${head}\n… ${kept.dropped} bytes dropped …\n${decodeTail(tail)}`;
}

function keepTail(kept: Kept, chunk: Buffer, limit: number): void {
  kept.tail.push(chunk);
  kept.tailBytes += chunk.length;
  while (kept.tailBytes > limit) {
    const [first = Buffer.alloc(0)] = kept.tail;
    const surplus = Math.min(kept.tailBytes - limit, first.length);
    if (surplus === first.length) kept.tail.shift();
    // A copy: a small slice would hold the whole chunk in memory.
    else kept.tail[0] = Buffer.from(first.subarray(surplus));
    kept.tailBytes -= surplus;
    kept.dropped += surplus;
  }
}

function inPieces(text: string, onText: (text: string) => void): void {
  let at = 0;
  while (at < text.length) {
    const code = text.charCodeAt(at + MAX_PIECE - 1);
    const isCut = code >= 0xd800 && code < 0xdc00;
    const piece = text.slice(at, at + MAX_PIECE - (isCut ? 1 : 0));
    onText(piece);
    at += piece.length;
  }
}

function remainder(kept: Kept): string {
  const tail = Buffer.concat(kept.tail);
  return kept.dropped === 0 ? kept.decoder.end(tail) : `\n… ${kept.dropped} bytes dropped …\n${decodeTail(tail)}`;
}

/**
 * Reads both streams to their end and keeps at most `maxBytes` of them together: the head, and the tail of each, where errors
 * stand. `onText` gets the head as it comes and the tails at the end, in pieces of at most 64 KiB that cut no character.
 */
export function collectOutput(
  stdout: Readable,
  stderr: Readable,
  maxBytes: number,
  onText: (text: string) => void,
): () => CollectedOutput {
  let headLeft = Math.ceil(maxBytes / 2);
  const tailLimit = Math.floor(maxBytes / 4);
  const read = (stream: Readable): Kept => {
    const kept: Kept = { decoder: new StringDecoder('utf8'), head: [], tail: [], tailBytes: 0, dropped: 0 };
    stream.on('data', (chunk: Buffer) => {
      const first = chunk.subarray(0, headLeft);
      headLeft -= first.length;
      if (first.length > 0) {
        kept.head.push(first);
        inPieces(kept.decoder.write(first), onText);
      }
      if (first.length < chunk.length) keepTail(kept, chunk.subarray(first.length), tailLimit);
    });
    return kept;
  };
  const streams = [read(stdout), read(stderr)] as const;
  return () => {
    for (const kept of streams) inPieces(remainder(kept), onText);
    const [out, err] = streams;
    return { stdout: join(out), stderr: join(err), truncated: out.dropped + err.dropped > 0 };
  };
}
