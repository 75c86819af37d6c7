import { describe, expect, it } from 'vitest';
import {
  backendErrors,
  backendUrlErrors,
  engineStackName,
  meetsShared,
  nameError,
  sharesPlace,
  tenantBackend,
  use,
} from './backends.ts';

describe('the URL of a backend', () => {
  it.each([
    'file:///var/state/acme',
    's3://bucket/acme?region=eu-central-1&endpoint=https://minio.example.com&use_path_style=true',
    'gs://bucket/acme',
    'azblob://container/acme?storage_account=acmestate',
    'postgres://keeper@db.example.com:5432/states?table=acme_state&sslmode=require',
    'https://api.pulumi.com',
    'http://127.0.0.1:8080',
  ])('may be %s', (url) => {
    expect(backendUrlErrors(url)).toEqual([]);
  });

  it.each([
    ['postgres://keeper:s3cr3t@db/states', 'PGPASSWORD'],
    ['s3://AKIA:s3cr3t@bucket', 'AWS_SECRET_ACCESS_KEY'],
    ['https://token@api.pulumi.com', 'PULUMI_ACCESS_TOKEN'],
    ['s3://bucket?prefix=other/', 'the parameter prefix'],
    ['s3://bucket?key=x', 'the parameter key'],
    ['s3://bucket?profile=admin', 'the parameter profile'],
    ['s3://bucket?endpoint=http://user:pw@host', 'endpoint'],
    ['gs://bucket?private_key_path=/etc/key', 'private_key_path'],
    ['postgres://db/states?host=/tmp', 'the parameter host'],
    ['postgres://db/states?search_path=other', 'search_path'],
    ['postgres://db/states?table=a;drop', 'table'],
    ['postgres://db', 'postgres://host/database'],
    ['file://host/state', 'names a host'],
    ['file:///state/../other', 'no plain URL'],
    ['s3://bucket/a/%2e%2e/b%2Fc', 'a % or a backslash'],
    // The parser resolves it to another tenant's folder, while the text lies in the tenant's own.
    ['file:///data/state/shop/%2e%2e/bank', 'a % or a backslash'],
    ['file:///data/state/shop/.%2E/%2e./..%2f', 'a % or a backslash'],
    // Go decodes both, so each is the place of somebody else.
    ['s3://bucket/te%6eant', 'a % or a backslash'],
    ['postgres://db/st%61tes', 'a % or a backslash'],
    ['https://api.pulumi.com\\x', 'a % or a backslash'],
    ['s3://bucket//acme', 'doubled slash'],
    ['FILE:///state/acme', 'written as file://'],
    ['S3://bucket/acme', 'written as s3://'],
    ['https:api.pulumi.com', 'written as https://'],
    ['postgres://one,two/states', 'postgres://host/database'],
    ['s3:///acme', 'names no bucket'],
    ['http://pulumi.example.com', 'in clear'],
    ['mem://x', 'unknown scheme'],
    ['not a url', 'no plain URL'],
  ])('may not be %s', (url, why) => {
    const errors = backendUrlErrors(url);
    expect(errors.join(' ')).toContain(why);
    expect(errors.join(' ')).not.toContain('s3cr3t');
  });
});

it.each([
  ['s3://b/acme', 's3://b/acme', true],
  ['s3://b', 's3://b/acme', true],
  ['s3://b/acme/deep?region=x', 's3://b/acme?endpoint=https://h', true],
  ['s3://b/acme', 's3://b/acme-two', false],
  ['s3://b/acme', 'gs://b/acme', false],
  ['s3://b/acme', 's3://c/acme', false],
  ['azblob://c/x?storage_account=one', 'azblob://c/x?storage_account=two', false],
  ['azblob://c/x?storage_account=one', 'azblob://c/x', true],
  ['postgres://h/d', 'postgres://u@h:5432/d?table=pulumi_state', true],
  ['postgres://h/d?table=a', 'postgres://h/d?table=b', false],
  ['postgres://DB.example.com./d', 'postgres://db.example.com/d', true],
  ['https://api.pulumi.com./', 'https://api.pulumi.com:443', true],
  ['https://api.pulumi.com:8443', 'https://api.pulumi.com', false],
  ['file:///s/acme', 'file:///s/acme/below', true],
  ['nonsense', 's3://b', false],
])('%s and %s are one place: %s', (one, other, expected) => {
  expect(sharesPlace(use(one), use(other))).toBe(expected);
  expect(sharesPlace(use(other), use(one))).toBe(expected);
});

it('tells organizations of a service apart, without minding capitals', () => {
  const cloud = (organization: string) => use('https://api.pulumi.com', organization);
  expect(sharesPlace(cloud('Acme'), cloud('acme'))).toBe(true);
  expect(sharesPlace(cloud('acme'), cloud('other'))).toBe(false);
});

it.each([
  ['s3://b', 's3://b/acme'],
  ['s3://b/base/?region=x', 's3://b/base/acme?region=x'],
  ['postgres://h/d?sslmode=disable', 'postgres://h/d?sslmode=disable&table=pulumi_state_acme'],
  ['https://api.pulumi.com', undefined],
])('gives a tenant its own part of %s', (shared, own) => {
  expect(tenantBackend(shared, 'acme')).toBe(own);
});

it.each([
  ['s3://b/base/bank', 's3://b/base', true],
  // Above it: every tenant that comes later would find its place taken.
  ['s3://b', 's3://b/base', true],
  ['s3://b/other', 's3://b/base', false],
  ['postgres://u@H/d?table=pulumi_state_bank', 'postgres://h/d', true],
  ['postgres://h/d?table=pulumi_state', 'postgres://h/d', true],
  ['postgres://h/d?table=mine', 'postgres://h/d', false],
  ['postgres://h/other?table=pulumi_state_bank', 'postgres://h/d', false],
])('%s reaches into the shared %s: %s', (backend, shared, expected) => {
  expect(meetsShared(backend, shared)).toBe(expected);
});

it('asks for an organization where the backend has them, and refuses it with environments where it has none', () => {
  expect(backendErrors({ backend: 'https://api.pulumi.com' }).map((error) => error.path)).toEqual(['organization']);
  expect(
    backendErrors({ backend: 'https://api.pulumi.com', organization: 'acme', environments: ['acme/dev'] }),
  ).toEqual([]);
  const refused = backendErrors({ backend: 's3://b', organization: 'acme', environments: ['acme/dev'] });
  expect(refused.map((error) => error.path)).toEqual(['organization', 'environments']);
});

it('names a stack as its backend does', () => {
  const identity = { backend: 's3://b', organization: 'acme', project: 'shop', stack: 'prod' };
  expect(engineStackName(identity)).toBe('prod');
  expect(engineStackName({ ...identity, backend: 'https://api.pulumi.com' })).toBe('acme/shop/prod');
});

it('refuses names PostgreSQL would mix up', () => {
  const identity = { backend: 'postgres://h/d', organization: 'organization', project: 'my_shop', stack: 'prod' };
  expect(nameError(identity)).toContain('my_shop/prod');
  expect(nameError({ ...identity, backend: 's3://b' })).toBeUndefined();
  expect(nameError({ ...identity, project: 'my-shop' })).toBeUndefined();
});
