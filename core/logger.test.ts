import { describe, expect, it } from 'vitest';
import { createLogger } from './logger.ts';
import { createScrubber } from './scrubber.ts';

function logged(secrets: string[], write: (logger: ReturnType<typeof createLogger>) => void): string {
  const scrubber = createScrubber();
  for (const secret of secrets) scrubber.register(secret);
  let text = '';
  const logger = createLogger({
    level: 'info',
    scrubber,
    name: 'test',
    destination: { write: (line) => void (text += line) },
  });
  write(logger);
  return text;
}

describe('the log', () => {
  const secret = 'hunter"22';
  it.each<[string, (logger: ReturnType<typeof createLogger>) => void]>([
    ['a message', (logger) => logger.info(`password is ${secret}`)],
    ['a field', (logger) => logger.info({ nested: { deep: [secret] } }, 'text')],
    ['the name of a field', (logger) => logger.info({ [secret]: 1 }, 'text')],
    ['an error and its stack', (logger) => logger.error({ err: new Error(`no login with ${secret}`) }, 'failed')],
    [
      'the cause of an error',
      (logger) => logger.error({ err: new Error('outer', { cause: new Error(secret) }) }, 'failed'),
    ],
    ['a child logger', (logger) => logger.child({ token: secret }).warn('text')],
    ['a URL', (logger) => logger.info(`postgres://u:${encodeURIComponent(secret)}@h/db`)],
  ])('never holds a secret from %s', (_, write) => {
    const text = logged([secret], write);
    expect(text).toContain('[secret]');
    expect(text).not.toMatch(/hunter/);
    expect(JSON.parse(text)).toMatchObject({ name: 'test' });
  });

  it.each([
    ['digits inside a number', '5432', { port: 15_432 }, 'port'],
    ['letters behind a backslash', 'nabc', { text: 'line\nabc' }, 'msg'],
  ])('stays JSON when the secret is %s', (_, value, fields, key) => {
    const text = logged([value], (logger) => logger.info({ ...fields, msg: `${value}` }));
    const line: unknown = JSON.parse(text);
    expect(line).toHaveProperty(key, expect.stringContaining('[secret]'));
  });

  it('holds what is not secret as it is, and only from its level on', () => {
    const text = logged([secret], (logger) => {
      logger.debug('hidden');
      logger.info({ count: 3 }, 'shown');
    });
    expect(JSON.parse(text)).toMatchObject({ count: 3, msg: 'shown' });
  });
});
