import crypto from 'node:crypto';

/**
 * The verifier PostgreSQL stores for a password (RFC 5803, SCRAM-SHA-256 with the server's default of 4096 rounds): the clear
 * password reaches neither the server nor its log. Only ASCII, so that SASLprep (RFC 4013) has nothing to do.
 */
export function scramVerifier(password: string): string {
  if (!/^[\x20-\x7e]+$/.test(password)) throw new Error('a role password may hold printable ASCII characters only');
  const salt = crypto.randomBytes(16);
  const salted = crypto.pbkdf2Sync(password, salt, 4096, 32, 'sha256');
  const hmac = (text: string) => crypto.createHmac('sha256', salted).update(text).digest();
  const stored = crypto.createHash('sha256').update(hmac('Client Key')).digest('base64');
  return `SCRAM-SHA-256$4096:${salt.toString('base64')}$${stored}:${hmac('Server Key').toString('base64')}`;
}
