import { createHash } from 'node:crypto';
import type { Binding } from './manifest.ts';
import type { Operation } from './run.ts';

/** Operations of the engine on one resource, as `apitype.OpType` names them; unknown ones are kept as they come. */
export const KNOWN_OPS = [
  'same',
  'create',
  'update',
  'delete',
  'replace',
  'create-replacement',
  'delete-replaced',
  'read',
  'read-replacement',
  'refresh',
  'discard',
  'discard-replaced',
  'remove-pending-replace',
  'import',
  'import-replacement',
] as const;
export type KnownOp = (typeof KNOWN_OPS)[number];

/** One property that differs; secrets are already `[secret]`. */
export interface PropertyDiff {
  path: string;
  kind: 'add' | 'update' | 'delete';
  /** A difference that forces the resource to be replaced. */
  replaces: boolean;
  before?: unknown;
  after?: unknown;
}

/** What a preview says about one resource. */
export interface ResourceChange {
  urn: string;
  type: string;
  name: string;
  op: string;
  diffs: PropertyDiff[];
  /** Set when `protect` or `retainOnDelete` is dropped by this change. */
  lostProtection: boolean;
  /** The resource is an explicit provider. */
  isProvider: boolean;
  /** Paths whose value is not known before the apply. */
  unknowns: string[];
}

/** How many resources get which operation. */
export type ChangeSummary = Record<string, number>;

/** One word of a policy pack about a resource, or about the whole stack. */
export interface PolicyViolation {
  pack: string;
  policy: string;
  level: 'advisory' | 'mandatory' | 'remediate' | 'disabled';
  /** Absent for a policy on the whole stack. */
  urn?: string;
  /** Scrubbed. */
  message: string;
}

/** A change a pack made to a resource's inputs; secrets are masked. */
export interface PolicyRemediation {
  pack: string;
  policy: string;
  urn: string;
  before?: unknown;
  after?: unknown;
}

/** What the policy packs said about a plan. */
export interface PolicyReport {
  packs: { name: string; version: string; digest: string }[];
  violations: PolicyViolation[];
  remediations: PolicyRemediation[];
}

/** The frozen address of a state. */
export interface StateIdentity {
  backend: string;
  organization: string;
  project: string;
  stack: string;
}

/**
 * Everything an approval is bound to. Each field is compared before an apply; see "Plan binding" in the design.
 * Values that could be secret are HMACs under the tenant's key.
 */
export interface BoundDocument {
  tenant: string;
  stack: string;
  generation: number;
  operation: Operation;
  targets: string[];
  identity: StateIdentity;
  /** sha256 of the checkpoint, `absent` before the first apply. */
  checkpoint: string;
  artifact: string;
  /** Who vouches for the artifact, and the key of the policy it was held against. */
  verification: { state: string; trustKey: string; signers: string[] };
  path: string;
  dependencies: string;
  /** sha256 over the canonical update plan, without its time and magic. */
  plan: string;
  /** secrets provider, encryption salt or key. */
  settings: string;
  config: Record<string, string>;
  environment: Record<string, string>;
  /** What of an approval holds: the update plan, or operations and property paths only. */
  binding?: Binding;
  /** Who each identity is for the cloud, where that can be known: `aws 123456789012 arn:… eu-central-1`. */
  principals?: Record<string, string>;
  /** Packs by name and digest, and what they said. */
  policies?: { packs: Record<string, string>; results: string; overridden: string[] };
  /** Which named secrets the run used: name → version. */
  credentials: Record<string, string>;
  versions: Record<string, string>;
  flags: string[];
  rule: Record<string, unknown>;
  summary: ChangeSummary;
  /** sha256 over the changes people were shown. */
  shown: string;
  unknowns: string[];
}

/** JSON with sorted keys and no spaces, so that equal documents have equal bytes (RFC 8785 without number rules). */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (value === null || typeof value !== 'object') return JSON.stringify(value) ?? 'null';
  const entries = Object.entries(value)
    .filter(([, item]) => item !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(([key, item]) => `${JSON.stringify(key)}:${canonicalJson(item)}`);
  return `{${entries.join(',')}}`;
}

/** `sha256:…` of any plain value in canonical form. */
export function digestOf(value: unknown): string {
  return `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`;
}

/** The digest a person approves. */
export function planDigest(bound: BoundDocument): string {
  return digestOf(bound);
}

/**
 * What `binding: operations` holds of a plan: each resource's operation, the paths that differ, whether they replace it, and
 * what is unknown. Values may differ: they are what the tenant gave up.
 */
export function boundOperations(changes: readonly ResourceChange[]): Record<string, string> {
  const said = changes.map(({ urn, op, diffs, unknowns, lostProtection }) => {
    const paths = diffs.map(({ path, kind, replaces }) => `${kind} ${path}${replaces ? ' (replaces)' : ''}`).sort();
    const later = unknowns.map((path) => `unknown ${path}`).sort();
    return [urn, [op, ...paths, ...later, ...(lostProtection ? ['loses its protection'] : [])].join(', ')] as const;
  });
  // Two steps on one resource, as a replacement has, are both held, whatever their order.
  const held = new Map<string, string[]>();
  for (const [urn, words] of said) held.set(urn, [...(held.get(urn) ?? []), words].sort());
  return Object.fromEntries([...held].map(([urn, words]) => [urn, words.join('; ')]));
}

export interface BoundDifference {
  /** Dotted path into the bound document, for example `environment.PGUSER`. */
  path: string;
  approved: string;
  now: string;
}

function show(value: unknown): string {
  if (value === undefined) return 'absent';
  return typeof value === 'string' ? value : canonicalJson(value);
}

function compare(path: string, approved: unknown, now: unknown, found: BoundDifference[]): void {
  const bothObjects = isRecord(approved) && isRecord(now);
  if (!bothObjects) {
    if (canonicalJson(approved ?? null) !== canonicalJson(now ?? null)) {
      found.push({ path, approved: show(approved), now: show(now) });
    }
    return;
  }
  for (const key of new Set([...Object.keys(approved), ...Object.keys(now)])) {
    compare(path === '' ? key : `${path}.${key}`, approved[key], now[key], found);
  }
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Which operations or property paths differ from the approved ones, by resource. */
export function operationDifferences(
  approved: readonly ResourceChange[],
  now: readonly ResourceChange[],
): BoundDifference[] {
  const [before, after] = [boundOperations(approved), boundOperations(now)];
  return [...new Set([...Object.keys(before), ...Object.keys(after)])]
    .filter((urn) => before[urn] !== after[urn])
    .map((urn) => ({ path: `operations of ${urn}`, approved: before[urn] ?? 'none', now: after[urn] ?? 'none' }));
}

/** The exact differences between what was approved and what is true now; empty when the approval still holds. */
export function boundDifferences(approved: BoundDocument, now: BoundDocument): BoundDifference[] {
  const found: BoundDifference[] = [];
  compare('', approved, now, found);
  return found;
}
