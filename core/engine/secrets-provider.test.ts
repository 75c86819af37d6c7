import { describe, expect, it } from 'vitest';
import { providerOf } from './secrets-provider.ts';
import { newEncryptionSalt, opensSalt } from './settings.ts';

describe('the provider a state names', () => {
  it.each([
    [
      { type: 'passphrase', state: { salt: 'v1:a:v1:b:c' } },
      { type: 'passphrase', salt: 'v1:a:v1:b:c' },
    ],
    [
      { type: 'cloud', state: { url: 'awskms://k', encryptedkey: 'a2V5' } },
      { type: 'cloud', url: 'awskms://k', encryptedKey: 'a2V5' },
    ],
    [{ type: 'service', state: { url: 'https://api', owner: 'o' } }, { type: 'service' }],
    [{ type: 'b64' }, undefined],
    ['text', undefined],
    [undefined, undefined],
  ])('is read from %j', (secrets, expected) => {
    expect(providerOf({ resources: [], secrets_providers: secrets })).toEqual(expected);
  });
});

it('a salt is opened by its own passphrase and no other, and one that was changed by none', async () => {
  const salt = await newEncryptionSalt('correct horse battery');
  expect(await opensSalt('correct horse battery', salt)).toBe(true);
  expect(await opensSalt('another one', salt)).toBe(false);
  expect(await opensSalt('correct horse battery', `${salt.slice(0, -4)}AAA=`)).toBe(false);
  await expect(opensSalt('x', 'v2:a')).rejects.toThrow('not of the form v1');
});
