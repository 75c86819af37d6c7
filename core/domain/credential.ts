import type { CredentialSource, OidcLogin, StackSpec } from './manifest.ts';
import { isFinished, type Operation, type RunState } from './run.ts';

/** Whose identity an operation has: `plan` runs unapproved code, `apply` what a person or the policy let through (rule 9). */
export const PHASES = ['plan', 'apply'] as const;
export type Phase = (typeof PHASES)[number];

/** The Secret a credential is read from; undefined where a token of the run takes its place. */
export function secretOf(source: CredentialSource | undefined): string | undefined {
  if (source === undefined || typeof source === 'string') return source;
  return source.secret;
}

/** Names of the secrets the two identities of a spec are made from. */
export function credentialSecrets(spec: Pick<StackSpec, 'credentials'>): string[] {
  const { plan, apply } = spec.credentials ?? {};
  return [secretOf(plan), secretOf(apply)].filter((name) => name !== undefined);
}

/** The role of AWS an identity becomes, by keys or by a token. */
export function roleOf(source: CredentialSource | undefined) {
  if (source === undefined || typeof source === 'string') return undefined;
  if ('assumeRole' in source) return source.assumeRole;
  return 'oidc' in source ? source.oidc.aws : undefined;
}

/** The clouds a token is for; undefined for an identity without one. */
export function loginOf(source: CredentialSource | undefined): OidcLogin | undefined {
  return typeof source === 'object' && 'oidc' in source ? source.oidc : undefined;
}

/** Who a token logs in as, as one text. */
function targetOf({ aws, azure, gcp, tokenFile }: OidcLogin): string {
  if (aws !== undefined) return `aws ${aws.role}`;
  if (azure !== undefined) return `azure ${azure.tenantId} ${azure.clientId}`;
  if (gcp !== undefined) return `gcp ${gcp.provider} ${gcp.serviceAccount ?? ''}`.trimEnd();
  return `token in ${tokenFile ?? 'no file'}`;
}

/** What an identity is made from, as an approval shows and binds it: `deploy@3 as arn:…`, `token for aws arn:…`. */
export function describeSource(source: CredentialSource | undefined, version: number | undefined): string {
  if (source === undefined) return 'none';
  const secret = secretOf(source);
  const login = loginOf(source);
  const named = secret === undefined ? undefined : `${secret}@${version}`;
  if (login !== undefined)
    return [`token for ${targetOf(login)}`, named].filter((part) => part !== undefined).join(' and ');
  const role = roleOf(source);
  return role === undefined ? String(named) : `${named} as ${role.role}`;
}

/** What a program under this identity holds, or can become. */
function holds(source: CredentialSource): string[] {
  const login = loginOf(source);
  const role = roleOf(source);
  // The keys a role is assumed with stay with the worker.
  const keys = login === undefined && role !== undefined ? [] : [secretOf(source)];
  const secret = keys.flatMap((name) => (name === undefined ? [] : [`secret ${name}`]));
  if (role !== undefined) return [...secret, `role ${role.role}`];
  if (login === undefined || login.tokenFile !== undefined) return secret;
  return [...secret, targetOf(login)];
}

/**
 * Whether a program that only plans has what an apply has: the same secret, role or account, or the keys with which the
 * role of the apply is assumed. Every approval shows it.
 */
export function sharesIdentity({ plan, apply }: { plan?: CredentialSource; apply?: CredentialSource }): boolean {
  if (plan === undefined || apply === undefined) return false;
  const secret = secretOf(apply);
  const opens = new Set([...holds(apply), ...(secret === undefined ? [] : [`secret ${secret}`])]);
  return holds(plan).some((item) => opens.has(item));
}

const AWS_AUDIENCE = 'sts.amazonaws.com';
const AZURE_AUDIENCE = 'api://AzureADTokenExchange';

/** The one audience of a token: what the cloud asks for by default, or the issuer where the login is nobody's in particular. */
export function audienceOf(login: OidcLogin, issuer: string): string {
  if (login.aws !== undefined) return AWS_AUDIENCE;
  if (login.azure !== undefined) return AZURE_AUDIENCE;
  if (login.gcp !== undefined) return `https://iam.googleapis.com/${login.gcp.provider}`;
  return issuer;
}

/** The subject clouds trust. Names hold no colon, so no two identities have one subject. */
export function subjectOf(at: { tenant: string; stack: string; phase: Phase }): string {
  return `tenant:${at.tenant}:stack:${at.stack}:op:${at.phase}`;
}

const SESSION_NAME_MAX = 64;

/**
 * Name of a session in the cloud's audit log: `plumbline-<tenant>-<stack>-<run>-<plan|apply>`. AWS takes 2 to 64 characters of
 * `[\w+=,.@-]`; where it is too long the names give way, so that run and phase stay.
 */
export function sessionName(at: { tenant: string; stack: string; run: number; phase: Phase }): string {
  const tail = `-${at.run}-${at.phase}`;
  const names = `plumbline-${at.tenant}-${at.stack}`.replace(/[^\w+=,.@-]/g, '-');
  return names.slice(0, SESSION_NAME_MAX - tail.length) + tail;
}

const PLAN_STATES: ReadonlySet<RunState> = new Set(['verifying', 'fetching', 'planning', 'applying', 'interrupting']);
const APPLY_STATES: ReadonlySet<RunState> = new Set(['approved', 'applying', 'interrupting']);

/** A run as the minting of a token sees it. */
export interface MintingRun {
  lane: 'run' | 'drift';
  operation: Operation;
  state: RunState;
  /** The newest of its stack, or the one that is applied: what it left is looked at, and put right, as plan. */
  current: boolean;
}

/** Why a run gets no token of a phase; undefined when it may. `apply` is for what was approved, and for nothing before. */
export function mintRefusal(run: MintingRun, phase: Phase): string | undefined {
  if ((run.lane === 'drift') !== (run.operation === 'drift'))
    return `a ${run.lane} lease is not for a run of ${run.operation}`;
  if (phase === 'apply') {
    if (run.lane === 'drift') return 'a drift check only looks: it has the identity of plan';
    // What a person does by hand is approved by being asked for.
    const byHand = run.operation === 'exec' && run.state === 'planning';
    return byHand || APPLY_STATES.has(run.state) ? undefined : `the run is ${run.state}: nothing of it is approved`;
  }
  const isCleanUp = run.lane === 'run' && run.current && isFinished(run.state);
  if (PLAN_STATES.has(run.state) || isCleanUp) return undefined;
  return `the run is ${run.state}: nothing of it is under way`;
}
