/** One message of a followed log. */
export type LogEvent = { type: 'output'; id: string; text: string } | { type: 'end'; state: string };

/** A piece is at most 64 KiB of text before it is escaped; what is larger is no message of ours. */
const MAX_MESSAGE_CHARS = 1024 * 1024;

function parseData(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function parseMessage(text: string): LogEvent | undefined {
  const fields = new Map(
    text.split('\n').map((line) => {
      const at = line.indexOf(': ');
      return [line.slice(0, at), line.slice(at + 2)] as const;
    }),
  );
  const data = parseData(fields.get('data') ?? '');
  if (fields.get('event') === 'output' && typeof data === 'string')
    return { type: 'output', id: fields.get('id') ?? '', text: data };
  if (fields.get('event') !== 'end' || typeof data !== 'object' || data === null) return undefined;
  return { type: 'end', state: 'state' in data ? String(data.state) : 'over' };
}

/**
 * Messages of a stream of server-sent events; comments and what this version does not know are left out.
 * @throws Error when a message never ends.
 */
export async function* parseLogEvents(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<LogEvent> {
  const decoder = new TextDecoder();
  let waiting = '';
  for await (const chunk of chunks) {
    waiting += decoder.decode(chunk, { stream: true });
    const messages = waiting.split('\n\n');
    waiting = messages.pop() ?? '';
    if (waiting.length > MAX_MESSAGE_CHARS) throw new Error('the service sends something that is no log');
    for (const text of messages) {
      const event = parseMessage(text);
      if (event !== undefined) yield event;
    }
  }
}
