import { Readable } from 'node:stream';
import { finished } from 'node:stream/promises';
import { expect, it } from 'vitest';
import { collectOutput } from './output.ts';

async function collect(chunks: Buffer[], maxBytes: number) {
  const pieces: string[] = [];
  const [stdout, stderr] = [Readable.from(chunks), Readable.from([])];
  const result = collectOutput(stdout, stderr, maxBytes, (text) => pieces.push(text));
  stderr.resume();
  await Promise.all([finished(stdout), finished(stderr)]);
  return { ...result(), pieces };
}

it.each([1, 2, 3, 5])('cuts no character when chunks of %i bytes do', async (size) => {
  const text = 'aé€😀'.repeat(5);
  const bytes = Buffer.from(text);
  const chunks = Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) =>
    bytes.subarray(index * size, (index + 1) * size),
  );
  const result = await collect(chunks, 1_000);
  expect(result).toMatchObject({ stdout: text, truncated: false });
  expect(result.pieces.join('')).toBe(text);
});

it.each([20, 21, 22, 23, 24])('cuts no character at a limit of %i bytes', async (maxBytes) => {
  const result = await collect([Buffer.from('😀'.repeat(100))], maxBytes);
  expect(result.truncated).toBe(true);
  expect(result.stdout).toMatch(/^(😀)+\n… \d+ bytes dropped …\n(😀)*$/u);
  expect(result.stdout).not.toContain('\uFFFD');
});

it('says nothing of dropped bytes when all of them fit', async () => {
  const result = await collect([Buffer.from('x'.repeat(70))], 100);
  expect(result).toMatchObject({ stdout: 'x'.repeat(70), truncated: false });
});

it('hands on pieces of at most 64 KiB', async () => {
  const result = await collect([Buffer.from('€'.repeat(100_000))], 1_000_000);
  expect(Math.max(...result.pieces.map((piece) => Buffer.byteLength(piece)))).toBeLessThanOrEqual(64 * 1024);
  expect(result.pieces.join('')).toHaveLength(100_000);
});
