/**
 * Reasons of conditions, events and errors, in one table: the same word everywhere. Each says when it is used.
 */
export const REASONS = {
  // progress
  Pending: 'the stack is known and has not been looked at yet',
  Progressing: 'a run is under way',
  AwaitingApproval: 'a plan waits for a person',
  Applied: 'the newest revision is applied',
  UpToDate: 'the newest revision needs no change',
  Suspended: 'the stack is suspended: nothing is done',
  PlanDiscarded: 'a person discarded the plan of the newest revision',
  ApprovalExpired: 'nobody approved the plan in time',
  Canceled: 'a person canceled the run',
  Superseded: 'a newer revision or spec replaced the run before it applied anything',
  PlanStale: 'something the approval was bound to has changed; a new plan is made',
  // source
  SourceNotFound: 'the repository, tag or digest does not exist',
  SourceUnauthorized: 'the registry refused the credentials',
  SourceUnreachable: 'the registry did not answer or failed',
  InvalidReference: 'the source reference cannot be parsed or is not allowed',
  ArtifactInvalid: 'the artifact is not one Plumbline can run',
  ArtifactTooLarge: 'the manifest, a layer or the unpacked tree is over its limit',
  DigestMismatch: 'bytes from the registry do not match their digest',
  DiskFull: 'a disk of the worker takes no more; retried',
  UnpackRefused: 'the archive holds something that is never unpacked: a path outside, a link out, a device',
  RevisionWentBack: 'the source points to an earlier revision than the one applied',
  ImmutableTagMoved: 'a tag that is promised never to move now names another digest',
  SignatureMissing: 'no signature that the policy asks for is attached (yet)',
  SignatureInvalid: 'signatures are attached and none of them meets the policy',
  PolicyUnset: 'signatures are required and neither the stack nor its tenant says whose count',
  Verified: 'the signatures and attestations the policy asks for hold',
  Unsigned: 'the stack runs what nobody signed, by an exception',
  // program
  ProgramInvalid: 'the artifact holds no valid Pulumi program or a setting that is refused',
  DependenciesFailed: 'the program dependencies cannot be installed from its lock file',
  PluginUnavailable: 'a provider plugin the program needs cannot be installed',
  PreviewFailed: 'the preview failed: the program or a provider reported an error',
  ApplyFailed: 'the apply failed: the program or a provider reported an error',
  RefreshFailed: 'the refresh failed: a provider reported an error',
  TimedOut: 'the run was stopped at its time limit',
  EventsIncomplete: 'the event stream of the engine was cut, so its result is not believed',
  OutputTooLarge: 'the run printed more than is kept; the rest was dropped',
  PolicyViolated: 'a mandatory policy is violated; a person may override it with a reason',
  PolicyPackFailed: 'a policy pack cannot be loaded or run, so nothing is known about its policies',
  MemoryExceeded: 'the run used more memory than it may',
  ProcessesExceeded: 'the run started more processes than it may',
  PlanExceeded: 'the apply met something the plan did not allow and stopped midway',
  NonDeterministic: 'two plans of the same inputs were violated: the program is not deterministic',
  SpecInvalid: 'the spec names something that does not exist or cannot be used',
  SecretNotFound: 'a secret the spec names does not exist in this tenant',
  // state
  IdentityChanged: 'backend, organization, project or stack differ from the first apply',
  StateRegressed: 'the state is gone or lost resources since the last record',
  StateInvalid: 'the state or a plan cannot be read: cut, edited or encrypted otherwise',
  SecretsProviderFailed: 'the provider of the state secrets does not answer, or refuses',
  SecretStoreFailed: 'the store a secret is kept in does not answer, or refuses',
  IdentityFailed: 'the identity of a run could not be obtained',
  ResourceProtected: 'a resource that would be destroyed is protected',
  Destroyed: 'everything the stack made was destroyed; it rests until somebody reconciles it',
  Executing: 'a person works on the state by hand, under the lease',
  StateMovedOutside: 'the state was changed by something other than Plumbline',
  StateLocked: 'somebody else holds the lock of the state backend',
  BackendUnreachable: 'the state backend did not answer or refused',
  PendingOperations: 'an interrupted run left operations a person must decide on',
  HolderUnknown: 'the worker that held the lease cannot be proved dead',
  Interrupted: 'the run was interrupted; what it did is found out before anything else is done',
  LeaseLost: 'the worker lost its lease and stopped',
  // drift
  Drifted: 'the live world differs from the last applied state',
  NotDrifted: 'the live world agrees with the last applied state',
  DriftCheckFailed: 'drift could not be checked',
  DriftDiscarded: 'the state moved during the drift check, so its result was thrown away',
  CredentialsSuspect: 'so much is missing that the credentials or account are suspected, not the world',
  HealLoop: 'the same property was healed three times in a day: something else writes it',
  HealRequested: 'a heal of reported drift was asked for',
  // engine room
  EngineMismatch: 'this worker has another engine version than the installation',
  IsolationUnavailable: 'this machine cannot isolate runs the way the settings ask',
  WorkerMissing: 'no worker has served this tenant lately',
  InternalError: 'a defect of Plumbline or its surroundings; retried',
} as const satisfies Record<string, string>;

export type Reason = keyof typeof REASONS;

/** The reason of a string read back from the database; unknown ones become `InternalError`. */
export function asReason(value: string): Reason {
  return value in REASONS ? (value as Reason) : 'InternalError';
}
