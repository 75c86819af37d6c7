import { stalled } from '#core/domain/errors.ts';

const BLOCK = 512;
const TYPE = 156;
const SIZE = 124;
const SIZE_BYTES = 12;
/** Names and attributes for the next entry, or for all: never content. */
const EXTENSIONS: ReadonlySet<string> = new Set(['x', 'g', 'L', 'K', 'N']);
const MAX_EXTENSION_BYTES = 1024 * 1024;
/** A global header that renames or resizes is read one way by one reader and another way by the next. */
const GLOBAL_TRAP = /^\d+ (path|linkpath|size)=/m;

/** Follows the blocks of a tar beside the parser, to refuse what two readers would read differently. */
export interface TarGuard {
  pass(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array, void>;
  /** Bytes of the next entry by its own header, in the order of the entries; undefined past the last one. */
  nextSize(): number | undefined;
}

function refuse(why: string) {
  return stalled('ArtifactInvalid', `a layer is no tar archive that can be trusted: ${why}; pack and push it again`);
}

/** Octal, or base 256 for large numbers (ustar and GNU). */
function sizeOf(header: Buffer): number {
  const field = header.subarray(SIZE, SIZE + SIZE_BYTES);
  if (((field[0] ?? 0) & 0x80) === 0) {
    const digits = field.toString('latin1').replace(/^[ \0]+/, '');
    return Number.parseInt(/^[0-7]*/.exec(digits)?.[0] || '0', 8);
  }
  const size = field.readUIntBE(SIZE_BYTES - 6, 6);
  const isSmall = field[0] === 0x80 && field.subarray(1, SIZE_BYTES - 6).every((byte) => byte === 0);
  if (!isSmall) throw refuse('an entry has an impossible size');
  return size;
}

const isZero = (block: Uint8Array) => block.every((byte) => byte === 0);

/** A guard for one archive. */
export function createTarGuard(): TarGuard {
  const sizes: number[] = [];
  let ended = false;
  /** Bytes of content, padding included, before the next header. */
  let skip = 0;
  let globals = 0;
  let global = Buffer.alloc(0);
  let part = Buffer.alloc(0);

  function endGlobal(): void {
    if (GLOBAL_TRAP.test(global.toString('latin1'))) throw refuse('a global header changes names or sizes');
    global = Buffer.alloc(0);
  }

  function header(block: Buffer): void {
    if (isZero(block)) {
      ended = true;
      return;
    }
    if (ended) throw refuse('there is something behind its end');
    const size = sizeOf(block);
    const type = String.fromCharCode(block[TYPE] ?? 0);
    skip = Math.ceil(size / BLOCK) * BLOCK;
    if (!EXTENSIONS.has(type)) sizes.push(size);
    else if (size > MAX_EXTENSION_BYTES) throw refuse('the attributes of an entry are larger than 1 MiB');
    globals = type === 'g' ? size : 0;
  }

  /** Takes in one chunk: headers are collected to whole blocks, contents are passed over. */
  function take(chunk: Uint8Array): void {
    let at = 0;
    while (at < chunk.byteLength) {
      if (skip > 0) {
        const step = Math.min(skip, chunk.byteLength - at);
        if (globals > 0) {
          const kept = Math.min(step, globals);
          global = Buffer.concat([global, chunk.subarray(at, at + kept)]);
          globals -= kept;
          if (globals === 0) endGlobal();
        }
        skip -= step;
        at += step;
        continue;
      }
      const step = Math.min(BLOCK - part.byteLength, chunk.byteLength - at);
      part = Buffer.concat([part, chunk.subarray(at, at + step)]);
      at += step;
      if (part.byteLength < BLOCK) return;
      const block = part;
      part = Buffer.alloc(0);
      header(block);
    }
  }

  return {
    async *pass(bytes) {
      for await (const chunk of bytes) {
        take(chunk);
        yield chunk;
      }
    },
    nextSize: () => sizes.shift(),
  };
}
