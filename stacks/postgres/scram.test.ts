import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { scramVerifier } from './scram.ts';

describe('scramVerifier', () => {
  it('holds the keys of RFC 5802 for the password, and not the password', () => {
    const verifier = scramVerifier('correct horse');
    const [, rounds, salt = '', stored, server] = /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$/.exec(verifier) ?? [];
    const salted = pbkdf2Sync('correct horse', Buffer.from(salt, 'base64'), Number(rounds), 32, 'sha256');
    const clientKey = createHmac('sha256', salted).update('Client Key').digest();
    expect(stored).toBe(createHash('sha256').update(clientKey).digest('base64'));
    expect(server).toBe(createHmac('sha256', salted).update('Server Key').digest('base64'));
    expect(verifier).not.toContain('horse');
  });

  it('is another one each time', () => {
    expect(scramVerifier('same')).not.toBe(scramVerifier('same'));
  });

  it('refuses what SASLprep would change', () => {
    expect(() => scramVerifier('pässword')).toThrow('printable ASCII');
  });
});
