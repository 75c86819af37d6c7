import { expect, it } from 'vitest';
import { parseLogEvents, type LogEvent } from './log-events.ts';

async function* inChunks(text: string, size: number) {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function read(text: string, size: number): Promise<LogEvent[]> {
  const events: LogEvent[] = [];
  for await (const event of parseLogEvents(inChunks(text, size))) events.push(event);
  return events;
}

const STREAM = [
  ': following',
  'id: 7\nevent: output\ndata: "one\\n\\ntwö"',
  ': still here',
  'event: something new\ndata: 1',
  'id: 8\nevent: output\ndata: not json',
  'event: end\ndata: {"state":"applied"}',
  '',
].join('\n\n');

it.each([1, 2, 3, 1000])(
  'reads pieces and the end however the stream is cut (%d bytes), and nothing else',
  async (size) => {
    expect(await read(STREAM, size)).toEqual([
      { type: 'output', id: '7', text: 'one\n\ntwö' },
      { type: 'end', state: 'applied' },
    ]);
  },
);

it('tells nothing of a message that was cut off, and refuses one without an end', async () => {
  expect(await read('id: 7\nevent: output\ndata: "on', 5)).toEqual([]);
  await expect(read('x'.repeat(2 * 1024 * 1024), 65_536)).rejects.toThrow('no log');
});
