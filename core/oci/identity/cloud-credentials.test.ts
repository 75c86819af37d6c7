import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { startTestServer, type Reply, type Seen } from '../test-server.ts';
import { createCloudIdentity } from './cloud-credentials.ts';

const HOST = '123456789012.dkr.ecr.eu-west-1.amazonaws.com';
const START = Date.parse('2026-06-01T00:00:00Z');
const HOUR = 3_600_000;
const SECRET = 'wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY';

function token(password: string, expiresAt: number): Reply {
  const authorizationToken = Buffer.from(`AWS:${password}`).toString('base64');
  const body = JSON.stringify({ authorizationData: [{ authorizationToken, expiresAt: expiresAt / 1000 }] });
  return { headers: { 'content-type': 'application/x-amz-json-1.1' }, body };
}

function refusal(status: number, type: string, message = 'no'): Reply {
  return {
    status,
    headers: { 'content-type': 'application/x-amz-json-1.1' },
    body: JSON.stringify({ __type: type, message }),
  };
}

/** An AWS of one endpoint, a worker that has a key for it, and a clock. */
async function startAws(answer: (seen: Seen) => Reply | Promise<Reply>, limitMs = 20_000) {
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'AKIAEXAMPLE');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', SECRET);
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_CONFIG_FILE', '/dev/null');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/dev/null');
  onTestFinished(() => {
    vi.unstubAllEnvs();
  });
  const server = await startTestServer(answer);
  const clock = { now: START };
  const identity = createCloudIdentity({ limitMs, endpoints: { aws: server.origin }, now: () => clock.now });
  return { server, clock, ask: (host = HOST, signal = AbortSignal.timeout(30_000)) => identity('aws', host, signal) };
}

describe('workload identity credentials', { timeout: 30_000 }, () => {
  it('are kept until 80 % of their life is over', async () => {
    const { server, clock, ask } = await startAws(() => token(`p${server.seen.length}`, START + 12 * HOUR));
    const first = { username: 'AWS', password: 'p1', expiresAt: new Date(START + 12 * HOUR) };
    expect(await ask()).toEqual(first);
    clock.now = START + 9.5 * HOUR;
    expect(await ask()).toEqual(first);
    clock.now = START + 9.7 * HOUR;
    expect(await ask()).toMatchObject({ password: 'p2' });
  });

  it('are asked for once by many callers at once, and for each host apart', async () => {
    const { server, ask } = await startAws(() => token('p', START + HOUR));
    const other = HOST.replace('eu-west-1', 'us-east-1');
    await Promise.all([ask(), ask(), ask(), ask(other), ask(other)]);
    expect(server.seen).toHaveLength(2);
  });

  it('are asked for in the region of the registry, with the identity of the worker', async () => {
    const { server, ask } = await startAws(() => token('p', START + HOUR));
    await ask('123456789012.dkr.ecr.ap-southeast-2.amazonaws.com');
    expect(server.seen[0]?.authorization).toMatch(/Credential=AKIAEXAMPLE\/\d+\/ap-southeast-2\/ecr\//);
  });

  it('of ECR Public are asked for in us-east-1', async () => {
    const { server, ask } = await startAws(() => {
      const authorizationToken = Buffer.from('AWS:public').toString('base64');
      const body = JSON.stringify({ authorizationData: { authorizationToken, expiresAt: START / 1000 + 60 } });
      return { headers: { 'content-type': 'application/x-amz-json-1.1' }, body };
    });
    expect(await ask('public.ecr.aws')).toMatchObject({ username: 'AWS', password: 'public' });
    expect(server.seen[0]?.authorization).toMatch(/\/us-east-1\/ecr-public\//);
  });

  it('are not asked for at all for a host that only looks like one of the cloud', async () => {
    const { server, ask } = await startAws(() => token('p', START + HOUR));
    await expect(ask(`${HOST}.evil.com`)).rejects.toMatchObject({ kind: 'stalled', reason: 'InvalidReference' });
    expect(server.seen).toEqual([]);
  });

  it.each<[string, Reply, object]>([
    ['stall when refused', refusal(400, 'AccessDeniedException'), { kind: 'stalled', reason: 'SourceUnauthorized' }],
    [
      'come back when throttled',
      refusal(400, 'ThrottlingException'),
      { kind: 'transient', reason: 'SourceUnreachable' },
    ],
    ['come back when AWS fails', refusal(500, 'ServerException'), { kind: 'transient', reason: 'SourceUnreachable' }],
    ['come back when there is none in the answer', { body: '{}' }, { kind: 'transient', reason: 'SourceUnreachable' }],
  ])('%s', async (_, reply, expected) => {
    const { ask } = await startAws(() => reply);
    await expect(ask()).rejects.toMatchObject(expected);
  });

  it('say what to do when refused, and nothing that is secret', async () => {
    const { ask } = await startAws(() =>
      refusal(
        400,
        'AccessDeniedException',
        `arn:aws:sts::1:assumed-role/a-role-with-a-name-of-some-length/session: your key ${SECRET}\nis bad`,
      ),
    );
    const error: unknown = await ask().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({
      message: expect.stringMatching(
        /AccessDeniedException: \S+assumed-role\/a-role-with-a-name-of-some-length\/session: your key \[…\] is bad.*ecr:GetAuthorizationToken; see docs\/workload-identity\.md$/,
      ),
    });
  });

  it('stall when the worker has no identity', async () => {
    const { ask } = await startAws(() => token('p', START + HOUR));
    vi.stubEnv('AWS_ACCESS_KEY_ID', '');
    await expect(ask()).rejects.toMatchObject({
      kind: 'stalled',
      message: expect.stringContaining('give the worker a role'),
    });
  });

  it('come back when an identity that worked is refused for once', async () => {
    const { server, clock, ask } = await startAws(() =>
      server.seen.length === 1 ? token('p', START + HOUR) : refusal(403, 'AccessDeniedException'),
    );
    await ask();
    clock.now += HOUR;
    await expect(ask()).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnauthorized' });
  });

  it('come back when nobody answers in time', async () => {
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const { ask } = await startAws(() => promise, 500);
    await expect(ask()).rejects.toMatchObject({ kind: 'transient', reason: 'SourceUnreachable' });
    resolve({});
  });

  it('let a caller go when it is stopped, and go on for the others', async () => {
    const { promise, resolve } = Promise.withResolvers<Reply>();
    const { ask } = await startAws(() => promise);
    const stopped = ask(HOST, AbortSignal.timeout(20));
    const patient = ask();
    await expect(stopped).rejects.toMatchObject({ name: 'TimeoutError' });
    resolve(token('p', START + HOUR));
    expect(await patient).toMatchObject({ password: 'p' });
  });
});
