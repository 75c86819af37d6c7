import { expect, it } from 'vitest';
import type { ExternalSecret } from '#core/domain/manifest.ts';
import { secretErrors } from './external-secrets.ts';

const VAULT = {
  store: 'vault',
  path: 'secret/data/db',
  address: 'https://vault.example.com',
  credentials: 'vault',
} as const;

it.each<ExternalSecret>([
  { store: 'file', path: 'shop/db' },
  { store: 'environment', path: 'DB_PASSWORD' },
  { ...VAULT, namespace: 'team', version: '2' },
  { ...VAULT, address: 'http://127.0.0.1:8200' },
  { store: 'aws-secrets-manager', path: 'shop/db', region: 'eu-central-1', credentials: 'aws' },
  { store: 'aws-secrets-manager', path: 'arn:aws:secretsmanager:eu-central-1:1:secret:db-x', credentials: 'aws' },
  { store: 'gcp-secret-manager', path: 'projects/p/locations/l/secrets/db', credentials: 'gcp' },
  { store: 'azure-key-vault', path: 'db', address: 'https://shop.vault.azure.net', credentials: 'azure' },
])('takes %j', (external) => expect(secretErrors({ external })).toEqual([]));

it.each<[ExternalSecret, string, string]>([
  [{ store: 'file', path: '../bank/db' }, 'path', 'below the folder of the tenant'],
  [{ store: 'file', path: '/etc/passwd' }, 'path', 'below the folder of the tenant'],
  [{ store: 'file', path: 'db', address: 'https://x' }, 'address', 'the store file has none'],
  [{ store: 'environment', path: 'A-B' }, 'path', 'letters, digits'],
  [{ store: 'vault', path: 'secret/data/db' }, 'address', 'the store vault needs it'],
  [{ ...VAULT, path: 'a/../../sys/seal' }, 'path', 'that of the API'],
  [{ ...VAULT, address: 'http://vault.example.com' }, 'address', 'https'],
  [{ ...VAULT, address: 'https://169.254.169.254' }, 'address', 'metadata'],
  [{ ...VAULT, address: 'https://u:p@vault' }, 'address', 'belong into'],
  [{ ...VAULT, address: 'vault' }, 'address', 'is not a URL'],
  [{ ...VAULT, region: 'x' }, 'region', 'has none'],
  [{ store: 'aws-secrets-manager', path: 'db', credentials: 'aws' }, 'region', 'no ARN'],
  [{ store: 'aws-secrets-manager', path: 'db', region: 'x' }, 'credentials', 'needs it'],
  [{ store: 'gcp-secret-manager', path: 'db', credentials: 'gcp' }, 'path', 'projects/<project>'],
  [{ store: 'azure-key-vault', path: 'a/b', address: 'https://v', credentials: 'a' }, 'path', 'the name of the secret'],
])('refuses %j by its %s', (external, field, message) => {
  const expected = { path: `spec/external/${field}`, message: expect.stringContaining(message) };
  expect(secretErrors({ external })).toContainEqual(expected);
});

it('takes values or a store, not both and not neither', () => {
  const expected = [{ path: 'spec', message: 'exactly one of data and external' }];
  expect(secretErrors({})).toEqual(expected);
  expect(secretErrors({ data: {}, external: { store: 'file', path: 'db' } })).toEqual(expected);
  expect(secretErrors({ data: {} })).toEqual([]);
});
