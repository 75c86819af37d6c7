import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import type { Cloud } from '#core/domain/manifest.ts';
import { readCloudHost } from './cloud-host.ts';

const ecr = (region: string, fips = false) => ({ cloud: 'aws', kind: 'private', region, fips });

describe('hosts that a cloud identity is shown to', () => {
  it.each([
    ['123456789012.dkr.ecr.eu-west-1.amazonaws.com', ecr('eu-west-1')],
    ['123456789012.dkr.ecr-fips.us-gov-west-1.amazonaws.com', ecr('us-gov-west-1', true)],
    ['123456789012.dkr.ecr.cn-north-1.amazonaws.com.cn', ecr('cn-north-1')],
    ['123456789012.dkr.ecr.us-iso-east-1.c2s.ic.gov', ecr('us-iso-east-1')],
    ['123456789012.dkr.ecr.us-isob-east-1.sc2s.sgov.gov', ecr('us-isob-east-1')],
    ['123456789012.dkr.ecr.eu-isoe-west-1.cloud.adc-e.uk', ecr('eu-isoe-west-1')],
    ['123456789012.dkr.ecr.us-isof-south-1.csp.hci.ic.gov', ecr('us-isof-south-1')],
    ['123456789012.dkr.ecr.eusc-de-east-1.amazonaws.eu', ecr('eusc-de-east-1')],
    ['123456789012.dkr-ecr.us-west-2.on.aws', ecr('us-west-2')],
    ['123456789012.dkr-ecr-fips.us-west-2.on.aws', ecr('us-west-2', true)],
    ['public.ecr.aws', { cloud: 'aws', kind: 'public' }],
  ])('of AWS: %s', (host, expected) => {
    expect(readCloudHost('aws', host)).toEqual(expected);
  });

  it.each(['myregistry.azurecr.io', 'myregistry-a1b2c3.azurecr.io', 'myregistry.azurecr.cn', 'myregistry.azurecr.us'])(
    'of Azure: %s',
    (host) => {
      expect(readCloudHost('azure', host)).toEqual({ cloud: 'azure' });
    },
  );

  it.each(['europe-west1-docker.pkg.dev', 'us-docker.pkg.dev', 'gcr.io', 'eu.gcr.io'])('of Google: %s', (host) => {
    expect(readCloudHost('gcp', host)).toEqual({ cloud: 'gcp' });
  });
});

describe('hosts that get nothing', () => {
  it.each<[Cloud, string]>([
    ['aws', '123456789012.dkr.ecr.eu-west-1.amazonaws.com.evil.com'],
    ['aws', 'evil.com/123456789012.dkr.ecr.eu-west-1.amazonaws.com'],
    ['aws', 'x123456789012.dkr.ecr.eu-west-1.amazonaws.com'],
    ['aws', '12345678901.dkr.ecr.eu-west-1.amazonaws.com'],
    ['aws', '123456789012.dkr.ecr.eu-west-1.amazonawsxcom'],
    ['aws', '123456789012.dkrxecr.eu-west-1.amazonaws.com'],
    ['aws', '123456789012.dkr.ecr.eu-west-1.evil.amazonaws.com'],
    ['aws', '123456789012.dkr.ecr.eu-west-1.amazonaws.com:8443'],
    ['aws', '123456789012.dkr.ecr.eu-west-1.amazonaws.com\n'],
    ['aws', '123456789012.dkr.ecr.eu-west-1.sc2s.sgov.gov'],
    ['aws', '123456789012.dkr.ecr.cn-north-1.amazonaws.com'],
    ['aws', '123456789012.dkr.ecr.eu-west-1.on.aws'],
    ['aws', 'public.ecr.aws.evil.com'],
    ['aws', 'notpublic.ecr.aws'],
    ['aws', 'myregistry.azurecr.io'],
    ['azure', 'azurecr.io'],
    ['azure', '.azurecr.io'],
    ['azure', 'myregistry.azurecr.io.evil.com'],
    ['azure', 'myregistry.azurecr.evil.io'],
    ['azure', 'myregistry-azurecr.io'],
    ['azure', 'evil.com#.azurecr.io'],
    ['gcp', 'evil-docker.pkg.dev.attacker.net'],
    ['gcp', 'us-docker.pkg.dev.evil.com'],
    ['gcp', 'docker.pkg.dev'],
    ['gcp', 'us-dockerxpkg.dev'],
    ['gcp', 'evilgcr.io'],
    ['gcp', 'a.b.gcr.io'],
    ['gcp', 'gcr.io.evil.com'],
    ['gcp', 'ghcr.io'],
  ])('of %s: %j', (cloud, host) => {
    expect(() => readCloudHost(cloud, host)).toThrowError(
      expect.objectContaining({ kind: 'stalled', reason: 'InvalidReference' }),
    );
  });

  it('whatever is put before or behind one that does', () => {
    const good = fc.constantFrom<[Cloud, string]>(
      ['aws', '123456789012.dkr.ecr.eu-west-1.amazonaws.com'],
      ['azure', 'myregistry.azurecr.io'],
      ['gcp', 'us-docker.pkg.dev'],
    );
    const tail = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' });
    fc.assert(
      fc.property(good, tail, ([cloud, host], more) => {
        expect(() => readCloudHost(cloud, `${host}${more}`)).toThrowError('gets no token');
        expect(() => readCloudHost(cloud, `${more}/${host}`)).toThrowError('gets no token');
      }),
    );
  });
});
