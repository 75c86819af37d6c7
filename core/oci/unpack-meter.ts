import { stalled, type ReconcileError } from '#core/domain/errors.ts';
import { createEntryCounter, type EntryCounter } from './entry-set.ts';
import type { ArtifactLimits } from './limits.ts';

/** Below this the ratio of unpacked to stored bytes says nothing. */
const RATIO_FLOOR = 16 * 1024 * 1024;

/** Counts what unpacking one artifact costs, over all its layers and folders, and stops at the limits. */
export interface UnpackMeter {
  /** Passes unpacked bytes on. `storedBytes`: of the layer, for the ratio. */
  measure(bytes: AsyncIterable<Uint8Array>, storedBytes: number): AsyncGenerator<Uint8Array, void>;
  entries: EntryCounter;
}

function tooLarge(what: string, limit: number, next: string): ReconcileError {
  return stalled('ArtifactTooLarge', `${what} more than the allowed ${limit} bytes; ${next}`);
}

/** One file of an artifact is over the limit. */
export function fileTooLarge(path: string, limit: number): ReconcileError {
  return tooLarge(`${path} has`, limit, 'leave it out with .sourceignore and push again');
}

/** @throws from its streams and counter ReconcileError stalled ArtifactTooLarge */
export function createMeter(limits: ArtifactLimits): UnpackMeter {
  let total = 0;
  return {
    entries: createEntryCounter(limits),
    async *measure(bytes, storedBytes) {
      const before = total;
      for await (const chunk of bytes) {
        total += chunk.byteLength;
        if (total > limits.maxUnpackedBytes) {
          const next =
            'leave files out with .sourceignore and push again, or raise PLUMBLINE_MAX_UNPACKED_MB of the worker and spec.artifacts.maxUnpackedMb of the tenant';
          throw tooLarge('the unpacked artifact has', limits.maxUnpackedBytes, next);
        }
        const fresh = total - before;
        if (fresh > RATIO_FLOOR && fresh > storedBytes * limits.maxRatio) {
          const why = `unpacks to more than ${limits.maxRatio} times its size, as a bomb does; leave out what is empty space and push again`;
          throw stalled('ArtifactTooLarge', `the archive ${why}`);
        }
        yield chunk;
      }
    },
  };
}
