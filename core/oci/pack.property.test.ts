import { chmod, lchown, lstat, mkdir, readdir, readFile, readlink, symlink, utimes, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { DEFAULT_LIMITS } from './limits.ts';
import { packProgram } from './pack.ts';
import { makeFolder } from './test-tar.ts';
import { createUnpacker } from './unpack.ts';

const signal = AbortSignal.timeout(120_000);

interface Leaf {
  content: Uint8Array;
  executable: boolean;
  /** Of a link, in its own folder; undefined for a file. */
  target: string | undefined;
}
type Tree = Map<string, Leaf>;

/** How a tree lies on a disk, which must not matter. */
interface Manner {
  reverse: boolean;
  time: number;
  /** Bits of group and others. */
  bits: number;
  owner: number;
}

const isRoot = process.getuid?.() === 0;
// Short names over few letters, so that folders are shared; the parts differ by more than case and accents.
const name = fc.stringMatching(/^[abü_-]{1,3}$/);
const leaf = fc.record({
  content: fc.uint8Array({ maxLength: 2_000 }),
  executable: fc.boolean(),
  target: fc.option(name, { nil: undefined, freq: 5 }),
});

/** Paths of which none is a folder of another. */
const tree: fc.Arbitrary<Tree> = fc
  .array(fc.tuple(fc.array(name, { minLength: 1, maxLength: 4 }), leaf), { maxLength: 12 })
  .map((entries) => {
    const found: Tree = new Map();
    for (const [parts, what] of entries) {
      const path = parts.join('/');
      const clashes = [...found.keys()].some(
        (other) => other === path || other.startsWith(`${path}/`) || path.startsWith(`${other}/`),
      );
      if (!clashes) found.set(path, what);
    }
    return found;
  });
const manner: fc.Arbitrary<Manner> = fc.record({
  reverse: fc.boolean(),
  time: fc.integer({ min: 1, max: 2_000_000_000 }),
  bits: fc.constantFrom(0o00, 0o44, 0o77, 0o22),
  owner: fc.constantFrom(0, 1_000, 65_534),
});

/** Writes a tree, with a Pulumi.yaml. */
async function write(of: Tree, { reverse, time, bits, owner }: Manner): Promise<string> {
  const dir = await makeFolder();
  await writeFile(join(dir, 'Pulumi.yaml'), 'name: shop\nruntime: yaml\n');
  const entries = reverse ? [...of].reverse() : [...of];
  for (const [path, { content, executable, target }] of entries) {
    const at = join(dir, path);
    await mkdir(dirname(at), { recursive: true });
    if (target === undefined) {
      await writeFile(at, content);
      await chmod(at, (executable ? 0o700 : 0o600) | bits);
      await utimes(at, time, time);
    } else await symlink(target, at);
    if (isRoot) await lchown(at, owner, owner);
  }
  return dir;
}

async function read(dir: string): Promise<Tree> {
  const found: Tree = new Map();
  for (const entry of await readdir(dir, { recursive: true, withFileTypes: true })) {
    if (entry.isDirectory()) continue;
    const at = join(entry.parentPath, entry.name);
    const isLink = entry.isSymbolicLink();
    found.set(at.slice(dir.length + 1), {
      content: isLink ? new Uint8Array() : new Uint8Array(await readFile(at)),
      executable: !isLink && ((await lstat(at)).mode & 0o100) !== 0,
      target: isLink ? await readlink(at) : undefined,
    });
  }
  return found;
}

/** Packs a folder; undefined where its links go in circles, which no worker would unpack. */
async function pack(dir: string) {
  return await packProgram({ dir }, await makeFolder(), signal).catch((error: { reason?: string }) => {
    if (error.reason === 'UnpackRefused') return undefined;
    throw error;
  });
}

describe('any tree', () => {
  it('packs to one digest, whatever the order, times, owners and modes for others', async () => {
    let packed = 0;
    await fc.assert(
      fc.asyncProperty(tree, manner, manner, async (of, one, two) => {
        const [a, b] = [await pack(await write(of, one)), await pack(await write(of, two))];
        expect(b?.digest).toBe(a?.digest);
        if (a !== undefined) packed += 1;
      }),
      { numRuns: 60 },
    );
    expect(packed).toBeGreaterThan(20);
  });

  it('comes out of its package as it went in', async () => {
    await fc.assert(
      fc.asyncProperty(tree, manner, async (of, how) => {
        const dir = await write(of, how);
        const packed = await pack(dir);
        if (packed === undefined) return;
        const [layer] = packed.layers;
        const into = await makeFolder();
        const unpacker = createUnpacker(into, DEFAULT_LIMITS);
        const source = { bytes: layer.open(), size: layer.descriptor.size, compression: 'gzip' } as const;
        await unpacker.addArchive(source, signal);
        await unpacker.finish();
        expect(await read(into)).toEqual(await read(dir));
        expect((await pack(into))?.digest).toBe(packed.digest);
      }),
      { numRuns: 60 },
    );
  });
});
