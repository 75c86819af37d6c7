import { describe, expect, it } from 'vitest';
import { buildEnvironment, certificatePaths, checkEnvironmentNames, type EnvironmentInput } from './environment.ts';

const input: EnvironmentInput = {
  runDir: '/runs/1',
  engine: '/tools/engine/pulumi',
  node: '/tools/node/bin/node',
  backendUrl: 'file:///state',
  passphrase: 'secret',
  environment: {},
  own: {},
};

describe('the environment of a run', () => {
  it('holds nothing of the worker but the certificate variables that are set', () => {
    const own = {
      DATABASE_URL: 'postgres://',
      AWS_SECRET_ACCESS_KEY: 'x',
      SSL_CERT_FILE: '/etc/ca.pem',
      NODE_EXTRA_CA_CERTS: '',
    };
    const built = buildEnvironment({ ...input, own });
    expect(built).toMatchObject({ SSL_CERT_FILE: '/etc/ca.pem' });
    expect(Object.keys(built)).not.toEqual(expect.arrayContaining(['DATABASE_URL']));
    expect(built).not.toHaveProperty('AWS_SECRET_ACCESS_KEY');
    expect(built).not.toHaveProperty('NODE_EXTRA_CA_CERTS');
  });

  it('keeps home, engine home and temporary files inside the run folder', () => {
    expect(buildEnvironment(input)).toMatchObject({
      HOME: '/runs/1/home',
      PULUMI_HOME: '/runs/1/pulumi-home',
      TMPDIR: '/runs/1/tmp',
      PATH: '/tools/engine:/tools/node/bin:/usr/bin:/bin',
      PULUMI_BACKEND_URL: 'file:///state',
      PULUMI_IGNORE_AMBIENT_PLUGINS: 'true',
    });
  });

  it('takes the spec and the credentials over defaults', () => {
    const environment = { AWS_REGION: 'eu-central-1', TZ: 'Europe/Zurich', SSL_CERT_FILE: '/own.pem' };
    expect(buildEnvironment({ ...input, environment, own: { SSL_CERT_FILE: '/worker.pem' } })).toMatchObject(
      environment,
    );
  });

  it.each([
    'PATH',
    'path',
    'HOME',
    'TMPDIR',
    'NODE_OPTIONS',
    'NODE_PATH',
    'LD_PRELOAD',
    'OPENSSL_CONF',
    'LD_LIBRARY_PATH',
    'DYLD_INSERT_LIBRARIES',
    'GRPC_TRACE',
    'PULUMI_HOME',
    'PULUMI_OPTION_REFRESH',
    'pulumi_config_passphrase',
    'PLUMBLINE_DATA',
    'BASH_ENV',
    'NPM_CONFIG_PREFIX',
  ])('refuses %s and says so without the value', (name) => {
    const attempt = () => buildEnvironment({ ...input, environment: { [name]: 's3cr3t' } });
    expect(attempt).toThrow(expect.objectContaining({ kind: 'stalled', reason: 'SpecInvalid' }));
    expect(attempt).toThrow(new RegExp(`^environment: ${name} `));
    expect(attempt).not.toThrow(/s3cr3t/);
  });

  it.each(['', 'A=B', '1A', 'A B', 'A\0'])('refuses %j, which is no name of a variable', (name) => {
    expect(() => checkEnvironmentNames({ [name]: 'x' })).toThrow(expect.objectContaining({ reason: 'SpecInvalid' }));
  });

  it.each(['AWS_ACCESS_KEY_ID', 'PGPASSWORD', 'KUBECONFIG', 'NODE_TLS_MIN', 'LDAP_URL', '_x'])('allows %s', (name) => {
    expect(() => checkEnvironmentNames({ [name]: 'x' })).not.toThrow();
  });

  it('gives the token of Pulumi Cloud to a backend of Pulumi Cloud and to no other', () => {
    const environment = { PULUMI_ACCESS_TOKEN: 'pul-s3cr3t' };
    expect(buildEnvironment({ ...input, environment, backendUrl: 'https://api.pulumi.com' })).toMatchObject(
      environment,
    );
    const attempt = () => buildEnvironment({ ...input, environment });
    expect(attempt).toThrow(/^environment: PULUMI_ACCESS_TOKEN is for a backend of Pulumi Cloud/);
    expect(attempt).not.toThrow(/s3cr3t/);
    expect(() => checkEnvironmentNames({ pulumi_access_token: 'x' }, 'https://api.pulumi.com')).toThrow(
      /set by Plumbline/,
    );
  });

  it('refuses a NUL byte in a value', () => {
    expect(() => checkEnvironmentNames({ A: 'x\0y' })).toThrow(/NUL/);
  });
});

it('names the certificate files to show, each folder of a list, as far as they exist', () => {
  const own = { SSL_CERT_DIR: '/usr:/etc', SSL_CERT_FILE: '/nowhere/ca.pem', OTHER: '/bin' };
  expect(certificatePaths(own)).toEqual(['/usr', '/etc']);
});
