import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, expect, it } from 'vitest';
import { openLockObject, signAws, signAzure } from './lock-objects.ts';

interface Asked {
  method: string | undefined;
  path: string | undefined;
  authorization: string | undefined;
}

let asked: Asked[];
let status: number;
let close: () => Promise<unknown>;
let origin: string;

beforeEach(async () => {
  asked = [];
  status = 200;
  const server = createServer((request, response) => {
    asked.push({ method: request.method, path: request.url, authorization: request.headers.authorization });
    response.writeHead(status).end('{"hostname":"plumb-1"}');
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address() as AddressInfo;
  origin = `http://127.0.0.1:${address.port}`;
  close = () => new Promise((done) => server.close(done));
});
afterEach(() => close());

const key = 'base/.pulumi/locks/organization/shop/prod/a b.json';
const aws = { AWS_ACCESS_KEY_ID: 'AKIA', AWS_SECRET_ACCESS_KEY: 'x', AWS_REGION: 'eu-central-1' };

it.each([
  [
    's3://bucket',
    aws,
    '/bucket/base/.pulumi/locks/organization/shop/prod/a%20b.json',
    /^AWS4-HMAC-SHA256 Credential=AKIA\//,
  ],
  ['gs://bucket', {}, `/storage/v1/b/bucket/o/${encodeURIComponent(key)}`, undefined],
  [
    'azblob://box',
    { AZURE_STORAGE_ACCOUNT: 'acc', AZURE_STORAGE_KEY: 'aGk=' },
    '/acc/box/base/.pulumi/locks/organization/shop/prod/a%20b.json',
    /^SharedKey acc:/,
  ],
  [
    'azblob://box',
    { AZURE_STORAGE_ACCOUNT: 'acc', AZURE_STORAGE_SAS_TOKEN: '?sig=s' },
    '/acc/box/base/.pulumi/locks/organization/shop/prod/a%20b.json?sig=s',
    undefined,
  ],
] as const)('removes exactly one object of %s', async (backend, environment, path, authorization) => {
  const local = {
    AWS_ENDPOINT_URL: origin,
    STORAGE_EMULATOR_HOST: origin.replace('http://', ''),
    AZURE_STORAGE_DOMAIN: origin.replace('http://', ''),
    AZURE_STORAGE_PROTOCOL: 'http',
  };
  // The provider chain of AWS reads the variables of its own process.
  Object.assign(process.env, environment);
  const object = await openLockObject(backend, key, { ...local, ...environment });
  expect(await object.read()).toBe('{"hostname":"plumb-1"}');
  await object.remove();
  expect(asked.map((request) => request.method)).toEqual(['GET', 'DELETE']);
  expect(asked[1]?.path).toBe(path);
  if (authorization !== undefined) expect(asked[1]?.authorization).toMatch(authorization);
  status = 404;
  expect(await object.read()).toBeUndefined();
  status = 403;
  await expect(object.remove()).rejects.toThrow('403');
  for (const name of Object.keys(environment)) delete process.env[name];
});

it('refuses a backend that keeps no objects', async () => {
  await expect(openLockObject('https://api.pulumi.com', key, {})).rejects.toThrow('keeps no lock objects');
});

/** The signature is what the signer of AWS's own SDK (@smithy/signature-v4) makes of the same request. */
it('signs as AWS does', () => {
  const headers = signAws({
    method: 'DELETE',
    url: new URL('https://examplebucket.s3.amazonaws.com/base/a%20b%27.json'),
    region: 'us-east-1',
    now: new Date('2013-05-24T00:00:00Z'),
    keys: {
      accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
      secretAccessKey: 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY',
      sessionToken: 'tok',
    },
  });
  expect(headers['authorization']).toBe(
    'AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request, SignedHeaders=host;x-amz-content-sha256;x-amz-date;x-amz-security-token, Signature=b661dc40ec22b313abe8458cf2b375347e8fc250ee2e87bb07582334748ae0db',
  );
});

it('signs the path of Azure with the account before it', () => {
  const at = { method: 'DELETE', account: 'acc', key: 'aGk=', now: new Date(0) };
  const one = signAzure({ ...at, url: new URL('https://acc.blob.core.windows.net/box/a') });
  const other = signAzure({ ...at, url: new URL('https://acc.blob.core.windows.net/box/b') });
  expect(one['x-ms-date']).toBe('Thu, 01 Jan 1970 00:00:00 GMT');
  expect(one['authorization']).not.toBe(other['authorization']);
});
