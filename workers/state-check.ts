import { stalled } from '#core/domain/errors.ts';
import type { StateIdentity } from '#core/domain/plan.ts';
import type { Checkpoint } from '#core/engine/port.ts';
import { stackWithIdentity, type StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from './deps.ts';

const PARTS = ['backend', 'organization', 'project', 'stack'] as const;

/** What of an address differs, in words; empty when it is the same. */
function moves(frozen: StateIdentity, wanted: StateIdentity): string[] {
  return PARTS.filter((part) => frozen[part] !== wanted[part]).map(
    (part) => `${part} was ${frozen[part]} and is now ${wanted[part]}`,
  );
}

/** Columns of a stack that say what its state was when we last wrote it. */
type Remembered = Pick<
  StackRow,
  'name' | 'identity' | 'checkpoint' | 'checkpoint_resources' | 'accepted_checkpoint' | 'rebind_by' | 'writing_state'
>;

/** Whether somebody answers for a state: we wrote it, or a person accepted it. */
export function isAnsweredFor(
  stack: Pick<Remembered, 'checkpoint' | 'accepted_checkpoint' | 'writing_state'>,
  now: Checkpoint,
): boolean {
  // Our own refresh was cut off before its result was written down; its worker is proved dead.
  return stack.writing_state || now.hash === stack.checkpoint || now.hash === stack.accepted_checkpoint;
}

/** Why nothing of a state may be run: it holds code nobody answers for. Undefined where it may. */
export function foreignCode(stack: Remembered, now: Checkpoint): string | undefined {
  if (now.dynamic === 0 || isAnsweredFor(stack, now)) return undefined;
  return `the state of ${stack.name} was written by something other than Plumbline, and ${now.dynamic} of its ${now.resources} resources bring their own code, so nothing of it is run. Look at it (\`plumb state export ${stack.name}\`), then \`plumb accept-state ${stack.name} --checkpoint ${now.hash}\`, or restore the state Plumbline wrote`;
}

/**
 * Refuses to run anything on a state that holds code nobody answers for: deleting or refreshing a dynamic resource runs what
 * the state says, not what was signed (design: state is code).
 * @throws stalled(StateMovedOutside)
 */
export function requireOwnCode(stack: Remembered, now: Checkpoint): void {
  const foreign = foreignCode(stack, now);
  if (foreign !== undefined) throw stalled('StateMovedOutside', foreign);
}

/** What the state lost since our last record; undefined when nothing. */
function regressed(stack: Remembered, now: Checkpoint): boolean {
  // A first apply that failed early may have left no state at all: nothing is lost then.
  if (stack.checkpoint === null || stack.checkpoint === 'absent' || stack.checkpoint_resources === null) return false;
  if (isAnsweredFor(stack, now)) return false;
  return now.hash === 'absent' || now.resources < stack.checkpoint_resources;
}

async function refuseForeign(deps: WorkerDeps, stack: StackRow, wanted: StateIdentity): Promise<void> {
  const owner = await stackWithIdentity(deps.db, wanted);
  if (owner === undefined || owner.id === stack.id) return;
  throw stalled(
    'IdentityChanged',
    `the state ${wanted.project}/${wanted.stack} belongs to another Stack of this installation; use another spec.pulumi.stack`,
  );
}

/** Of a state at an address it never was at: what was remembered of the old one says nothing about its size. */
function rebound(stack: StackRow, moved: string[], now: Checkpoint): string[] {
  const what =
    now.hash === stack.checkpoint
      ? 'it holds the state Plumbline wrote'
      : now.hash === 'absent'
        ? `there is no state there: everything would be made anew, and the ${stack.checkpoint_resources ?? 0} resources of the old one stay where they are`
        : `it holds ${now.resources} resources, ${stack.checkpoint_resources ?? 0} after the last run of the old one`;
  return [`the state moves, as ${stack.rebind_by} allowed: ${moved.join(', ')}; ${what}`];
}

function concerns(stack: StackRow, now: Checkpoint): string[] {
  if (now.hash === stack.checkpoint) return [];
  if (stack.checkpoint === null) return now.hash === 'absent' ? [] : [`adopts a state of ${now.resources} resources`];
  if (stack.writing_state) return ['the state was being refreshed when its worker died'];
  const accepted = now.hash === stack.accepted_checkpoint ? ', and a person accepted that' : '';
  return [`the state was changed by something other than Plumbline since the last run${accepted}`];
}

/**
 * Refuses a state that is not the one this stack owns (rule 8), before anything of it is run. Returns what a person has to
 * know about it: a plan with any of it is approved by a person in every mode.
 * @throws stalled(IdentityChanged | StateRegressed | StateMovedOutside)
 */
export async function checkState(
  deps: WorkerDeps,
  stack: StackRow,
  wanted: StateIdentity,
  now: Checkpoint,
): Promise<string[]> {
  const moved = stack.identity === null ? [] : moves(stack.identity, wanted);
  if (moved.length > 0 && stack.rebind_by === null) {
    throw stalled(
      'IdentityChanged',
      `the state of ${stack.name} would move: ${moved.join(', ')}. Restore it, or let it move with \`plumb rebind ${stack.name}\``,
    );
  }
  await refuseForeign(deps, stack, wanted);
  if (moved.length === 0 && regressed(stack, now)) {
    throw stalled(
      'StateRegressed',
      `the state of ${stack.name} holds ${now.resources} resources, ${stack.checkpoint_resources} after the last run; restore it from a backup before anything is planned, or accept it with \`plumb accept-state ${stack.name} --checkpoint ${now.hash}\``,
    );
  }
  requireOwnCode(stack, now);
  if (moved.length > 0) return rebound(stack, moved, now);
  // The address stays; what the secrets of the state are encrypted with may be what changes.
  const allowed = stack.rebind_by === null ? [] : [`the state or its key changes hands, as ${stack.rebind_by} allowed`];
  return [...allowed, ...concerns(stack, now)];
}
