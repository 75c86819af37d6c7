import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pack, type Header } from 'tar-stream';
import { onTestFinished } from 'vitest';

/** An entry of a test's tar: a file unless `type` says otherwise. */
export type TarItem = { name: string; content?: string | Buffer } & Partial<Omit<Header, 'name'>>;

/** A tar of exactly these entries, hostile ones included. */
export async function makeTar(items: readonly TarItem[]): Promise<Buffer> {
  const archive = pack();
  for (const { content = '', ...header } of items) {
    const body = Buffer.from(content);
    if (header.type === undefined || header.type === 'file') archive.entry(header, body);
    else archive.entry(header);
  }
  archive.finalize();
  const chunks: Buffer[] = [];
  for await (const chunk of archive) if (chunk instanceof Buffer) chunks.push(chunk);
  return Buffer.concat(chunks);
}

/** A fresh folder of mode 0700, removed when the test ends. */
export async function makeFolder(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'plumbline-test-'));
  onTestFinished(() => rm(dir, { recursive: true, force: true }));
  return dir;
}
