import { loginOf, PHASES, roleOf, type Phase } from '#core/domain/credential.ts';
import { parseDuration } from '#core/domain/duration.ts';
import type { CredentialSource, OidcLogin, StackSpec } from '#core/domain/manifest.ts';
import { checkEnvironmentNames } from '#core/engine/environment.ts';
import { GUID, SERVICE_ACCOUNT } from '#core/identity/principal.ts';
import type { SpecError } from './spec-rules.ts';
import { refusals } from './verify-rules.ts';

/** What the installation can do for a spec. */
export interface Abilities {
  /** It has a public URL by which clouds trust its tokens. */
  mintsTokens: boolean;
}

const MINUTE = 60_000;
/** AWS STS, AssumeRole: DurationSeconds. */
const SESSION_MS = { least: 15 * MINUTE, most: 720 * MINUTE };
/** IAM role names with their path (IAM API, CreateRole). */
const ROLE_PATH = /^arn:[^:]+:iam::\d{12}:role\/[\w+=,.@/-]{1,576}$/;
/** Full name of a provider, with the project's number: it is the audience of the tokens. */
const PROVIDER =
  /^projects\/\d+\/locations\/global\/workloadIdentityPools\/[a-z0-9-]{4,32}\/providers\/[a-z0-9-]{4,32}$/;

const LOGINS = ['aws', 'azure', 'gcp', 'tokenFile'] as const satisfies readonly (keyof OidcLogin)[];

function unlessMatching(path: string, text: string | undefined, pattern: RegExp, what: string): SpecError[] {
  return text === undefined || pattern.test(text) ? [] : [{ path, message: `${JSON.stringify(text)} is not ${what}` }];
}

function roleErrors(path: string, source: CredentialSource): SpecError[] {
  const role = roleOf(source);
  if (role === undefined) return [];
  const errors = unlessMatching(`${path}/role`, role.role, ROLE_PATH, 'the ARN of a role');
  if (role.session === undefined) return errors;
  const ms = parseDuration(role.session);
  const isFine = ms >= SESSION_MS.least && ms <= SESSION_MS.most;
  return isFine
    ? errors
    : [...errors, { path: `${path}/session`, message: `${role.session} is not between 15m and 12h` }];
}

/** What only the keys of a secret can ask for: a program that logs in by a token asks for itself. */
function tokenRoleErrors(path: string, login: OidcLogin): SpecError[] {
  return (['externalId', 'session'] as const).flatMap((name) => {
    if (login.aws?.[name] === undefined) return [];
    return [{ path: `${path}/aws/${name}`, message: 'belongs to assumeRole: a login by a token has none' }];
  });
}

function loginErrors(path: string, login: OidcLogin, { mintsTokens }: Abilities): SpecError[] {
  const given = LOGINS.filter((name) => login[name] !== undefined);
  const { azure, gcp, tokenFile } = login;
  const errors: SpecError[] = [];
  if (given.length !== 1)
    errors.push({ path, message: `name exactly one of ${LOGINS.join(', ')}: a token has one audience` });
  if (!mintsTokens)
    errors.push({
      path,
      message:
        'this installation mints no identity tokens: set PLUMBLINE_PUBLIC_URL on the service to the URL under which clouds reach it',
    });
  return [
    ...errors,
    ...tokenRoleErrors(path, login),
    ...unlessMatching(`${path}/azure/tenantId`, azure?.tenantId, GUID, 'the id of a tenant'),
    ...unlessMatching(`${path}/azure/clientId`, azure?.clientId, GUID, 'the id of an application or identity'),
    ...unlessMatching(`${path}/azure/subscriptionId`, azure?.subscriptionId, GUID, 'the id of a subscription'),
    ...unlessMatching(
      `${path}/gcp/provider`,
      gcp?.provider,
      PROVIDER,
      'projects/<number>/locations/global/workloadIdentityPools/<pool>/providers/<provider>',
    ),
    ...unlessMatching(
      `${path}/gcp/serviceAccount`,
      gcp?.serviceAccount,
      SERVICE_ACCOUNT,
      'the address of a service account',
    ),
    ...(tokenFile === undefined ? [] : refusals(`${path}/tokenFile`, () => checkEnvironmentNames({ [tokenFile]: '' }))),
  ];
}

function identityErrors(spec: StackSpec, phase: Phase, abilities: Abilities): SpecError[] {
  const source = spec.credentials?.[phase];
  if (source === undefined) return [];
  const path = `spec/credentials/${phase}`;
  const login = loginOf(source);
  if (login === undefined) return roleErrors(`${path}/assumeRole`, source);
  return [...loginErrors(`${path}/oidc`, login, abilities), ...roleErrors(`${path}/oidc/aws`, source)];
}

/** What a schema cannot say about the two identities of a Stack; empty when they are fine. */
export function credentialErrors(spec: StackSpec, abilities: Abilities): SpecError[] {
  return PHASES.flatMap((phase) => identityErrors(spec, phase, abilities));
}
