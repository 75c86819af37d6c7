import { createSecretKey, randomBytes } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import type { MasterKey } from '../secrets.ts';
import { isSignedTokenRequest, openToken, sealToken, signTokenRequest, type TokenRequest } from './token-request.ts';

const newKey = (): MasterKey => ({ master: createSecretKey(randomBytes(32)) });
const key = newKey();
const NOW = new Date('2026-11-24T12:00:00Z');
const wish = { stackId: '7', lane: 'run', fence: 3, workerId: 'w1', runId: '12', phase: 'plan' } as const;

describe('a request for a token', () => {
  it('proves that its sender has the master key', () => {
    expect(isSignedTokenRequest(key, signTokenRequest(key, wish, NOW))).toBe(true);
    expect(isSignedTokenRequest(newKey(), signTokenRequest(key, wish, NOW))).toBe(false);
  });

  it.each<[keyof TokenRequest, TokenRequest[keyof TokenRequest]]>([
    ['stackId', '8'],
    ['lane', 'drift'],
    ['fence', 4],
    ['workerId', 'w2'],
    ['runId', '13'],
    ['phase', 'apply'],
    ['time', NOW.getTime() + 1],
    ['nonce', '00000000-0000-0000-0000-000000000000'],
  ])('that had another %s is forged', (field, value) => {
    const { request, signature } = signTokenRequest(key, wish, NOW);
    expect(isSignedTokenRequest(key, { request: { ...request, [field]: value }, signature })).toBe(false);
  });

  it.each(['', '00', 'zz'.repeat(32), 'ff'.repeat(32), 'ff'.repeat(64)])(
    'with the signature %j is forged',
    (signature) => {
      expect(isSignedTokenRequest(key, { request: signTokenRequest(key, wish, NOW).request, signature })).toBe(false);
    },
  );

  it('is another one each time', () => {
    expect(signTokenRequest(key, wish, NOW).signature).not.toBe(signTokenRequest(key, wish, NOW).signature);
  });
});

describe('the answer', () => {
  it('opens for the nonce and the key it was sealed for, and tells nothing else', () => {
    const sealed = sealToken(key, 'n1', 'the.token');
    expect(sealed).not.toContain('token');
    expect(openToken(key, 'n1', sealed)).toBe('the.token');
    expect(() => openToken(key, 'n2', sealed)).toThrow('does not open');
    expect(() => openToken(newKey(), 'n1', sealed)).toThrow('does not open');
  });
});
