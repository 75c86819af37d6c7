import { describe, expect, it } from 'vitest';
import { startTestServer, type Reply } from '../oci/test-server.ts';
import { assumeRole, callerIdentity } from './aws-sts.ts';

const KEYS = {
  accessKeyId: 'AKIAIOSFODNN7EXAMPLE',
  secretAccessKey: 'canary-of-the-secret-key',
  sessionToken: 'canary-of-the-session',
};
const ROLE = 'arn:aws:iam::123456789012:role/ops';
const XML = { 'content-type': 'text/xml' };
const NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"';

const failing = (status: number, code: string, message: string): Reply => ({
  status,
  headers: XML,
  body: `<ErrorResponse ${NAMESPACE}><Error><Type>Sender</Type><Code>${code}</Code><Message>${message}</Message></Error></ErrorResponse>`,
});

const session: Reply = {
  headers: XML,
  body: `<AssumeRoleResponse ${NAMESPACE}><AssumeRoleResult><Credentials><AccessKeyId>ASIAX</AccessKeyId>
    <SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>2026-11-24T13:00:00Z</Expiration>
    </Credentials></AssumeRoleResult></AssumeRoleResponse>`,
};

const caller = (arn: string): Reply => ({
  headers: XML,
  body: `<GetCallerIdentityResponse ${NAMESPACE}><GetCallerIdentityResult><Arn>${arn}</Arn><UserId>x</UserId>
    <Account>123456789012</Account></GetCallerIdentityResult></GetCallerIdentityResponse>`,
});

async function startSts(answer: (form: URLSearchParams) => Reply) {
  const server = await startTestServer(({ body }) => answer(new URLSearchParams(body.toString())));
  const access = { region: 'eu-west-1', endpoint: server.origin, signal: AbortSignal.timeout(25_000) };
  const wish = {
    role: ROLE,
    externalId: 'x-1',
    sessionName: 'plumbline-a-b-1-apply',
    lifeMs: 3_900_000,
    strict: false,
    what: 'secret base',
  };
  return {
    server,
    forms: () => server.seen.map((seen) => new URLSearchParams(seen.body.toString())),
    who: (signal = access.signal) => callerIdentity(KEYS, { ...access, signal, what: 'the identity plan' }),
    assume: (change: Partial<typeof wish> = {}) => assumeRole(KEYS, access, { ...wish, ...change }),
  };
}

const TOO_LONG = failing(
  400,
  'ValidationError',
  'The requested DurationSeconds exceeds the MaxSessionDuration set for this role.',
);

describe('a role', () => {
  it('is asked for by name, external id and the time the operation may take', async () => {
    const sts = await startSts(() => session);
    expect(await sts.assume()).toMatchObject({ keys: { accessKeyId: 'ASIAX' }, note: undefined });
    expect(Object.fromEntries(sts.forms()[0] ?? [])).toMatchObject({
      Action: 'AssumeRole',
      RoleArn: ROLE,
      ExternalId: 'x-1',
      RoleSessionName: 'plumbline-a-b-1-apply',
      DurationSeconds: '3900',
    });
  });

  it.each([
    [60_000, '900'],
    [100 * 3_600_000, '43200'],
  ])('for %d ms is asked for %s s, which AWS takes', async (lifeMs, seconds) => {
    const sts = await startSts(() => session);
    await sts.assume({ lifeMs });
    expect(sts.forms()[0]?.get('DurationSeconds')).toBe(seconds);
  });

  it('that allows no session of that length gives one of an hour, and a note', async () => {
    const sts = await startSts((form) => (form.get('DurationSeconds') === '3600' ? session : TOO_LONG));
    expect((await sts.assume()).note).toMatch(/lasts 60 min.*raise MaxSessionDuration.*3900 s/);
  });

  it('that allows no session of the length the spec names is refused', async () => {
    const sts = await startSts((form) => (form.get('DurationSeconds') === '3600' ? session : TOO_LONG));
    await expect(sts.assume({ strict: true })).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'IdentityFailed',
      message: expect.stringContaining('raise MaxSessionDuration'),
    });
  });

  it.each<[string, Reply, string, RegExp]>([
    [
      'refused',
      failing(403, 'AccessDenied', 'User: arn:aws:iam::1:user/x is not authorized to perform: sts:AssumeRole'),
      'stalled',
      /AWS refuses the role .*AccessDenied.*trust policy/,
    ],
    [
      'asked for with keys of nobody',
      failing(403, 'InvalidClientTokenId', 'The security token included in the request is invalid.'),
      'stalled',
      /InvalidClientTokenId/,
    ],
    [
      'answered by no AWS',
      { status: 200, headers: { 'content-type': 'text/html' }, body: '<html>login</html>' },
      'transient',
      /could not be asked/,
    ],
    [
      'answered without keys',
      { headers: XML, body: `<AssumeRoleResponse ${NAMESPACE}><AssumeRoleResult/></AssumeRoleResponse>` },
      'transient',
      /holds no keys/,
    ],
  ])('that is %s fails, and says so without the keys', async (_, reply, kind, message) => {
    const sts = await startSts(() => reply);
    const error: unknown = await sts.assume().catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ kind, reason: 'IdentityFailed', message: expect.stringMatching(message) });
    expect(JSON.stringify([error, String(error)])).not.toMatch(/canary/);
  });
});

describe('who keys are', () => {
  it.each([
    ['arn:aws:iam::123456789012:user/ci/deploy', 'arn:aws:iam::123456789012:user/ci/deploy'],
    ['arn:aws:sts::123456789012:assumed-role/ops/run-7', 'arn:aws:sts::123456789012:assumed-role/ops'],
    ['arn:aws-cn:sts::123456789012:federated-user/bob/x', 'arn:aws-cn:sts::123456789012:federated-user/bob'],
  ])('%s is told as %s', async (arn, told) => {
    const sts = await startSts(() => caller(arn));
    expect(await sts.who()).toEqual({ account: '123456789012', arn: told });
  });

  it('is asked again when AWS is out of order, and then told as passing', async () => {
    const sts = await startSts(() => failing(503, 'ServiceUnavailable', 'try again'));
    await expect(sts.who()).rejects.toMatchObject({ kind: 'transient', reason: 'IdentityFailed' });
    expect(sts.server.seen.length).toBeGreaterThan(1);
  });

  it('ends with the run, at once, when AWS never answers', async () => {
    const sts = await startSts(() => ({ headers: XML, body: 'x'.repeat(100), stallAfter: 1 }));
    const begun = performance.now();
    const stopped = new Error('the run was canceled');
    const ending = new AbortController();
    setTimeout(() => ending.abort(stopped), 200);
    await expect(sts.who(ending.signal)).rejects.toBe(stopped);
    expect(performance.now() - begun).toBeLessThan(10_000);
  });
});
