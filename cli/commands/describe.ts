import type { Command } from 'commander';
import { Type } from 'typebox';
import { DriftItemView, pageOf, PendingView, RunView, StackView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { printable } from '../printable.ts';
import { renderDrift } from '../render-drift.ts';
import { renderPending } from '../render-pending.ts';
import { shortDigest, shortRevision } from '../table.ts';
import { renderRuns } from './get.ts';

interface Description {
  stack: StackView;
  runs: RunView[];
  drift: DriftItemView[];
  pending: PendingView;
}

function describeRun({ number, state, planDigest }: RunView): string {
  return `${number} ${state}${planDigest === null ? '' : `, plan ${shortDigest(planDigest)}`}`;
}

/** Who vouches for the resolved revision; an exception is as loud as a missing signature. */
function signedOf({ status, spec }: StackView): string {
  const { verification } = status;
  const exception = spec.source.verify?.unsigned;
  if (verification === null) return exception === undefined ? '?' : `UNSIGNED: ${exception.reason}`;
  if (verification.state === 'verified') return `by ${verification.signers.map(({ name }) => name).join(', ')}`;
  return `${verification.state === 'unsigned' ? 'UNSIGNED' : 'NO'}: ${verification.message}`;
}

function renderStatus({ stack }: Description): string[] {
  const { status } = stack;
  const applied =
    status.applied === null
      ? 'nothing yet'
      : `${shortRevision(status.applied.revision)} at ${status.applied.at ?? '?'}`;
  const resolved =
    status.resolved === null
      ? 'nothing yet'
      : `${shortRevision(status.resolved.revision)} at ${status.resolved.at ?? '?'}`;
  return [
    `${stack.tenant}/${stack.name}: ${stack.why}`,
    `  source         ${stack.spec.source.repository}`,
    `  resolved       ${resolved}`,
    `  applied        ${applied}`,
    `  signed         ${signedOf(stack)}`,
    `  generation     ${stack.generation} by ${stack.specBy} (observed ${status.observedGeneration})`,
    `  next look      ${status.nextReconcileAt ?? 'when asked'}, drift ${status.nextDriftAt ?? 'when asked'}`,
    ...(stack.liveRun === null ? [] : [`  live run       ${describeRun(stack.liveRun)}`]),
    ...status.conditions.map(
      ({ type, status: value, reason, message }) => `  ${type.padEnd(14)} ${value} ${reason}: ${message}`,
    ),
  ].map(printable);
}

function renderDescription(description: Description): string {
  const { drift, pending, runs } = description;
  return [
    ...renderStatus(description),
    ...(pending.operations.length === 0 ? [] : ['', 'Interrupted operations:', renderPending(pending)]),
    ...(drift.length === 0 ? [] : ['', 'Drift:', renderDrift(drift)]),
    '',
    'Runs:',
    renderRuns(runs, new Date()),
  ].join('\n');
}

/** `plumb describe`: everything about one stack that a person asks for first. */
export function describeCommand(program: Command): void {
  program
    .command('describe <stack>')
    .description('status, conditions, drift and the latest runs of a stack')
    .action(async (name: string, _options: object, command: Command) => {
      const { client, path, print } = createContext(command);
      const [stack, runs, drift, pending] = await Promise.all([
        client.get(path`/stacks/${name}`, StackView),
        client.get(path`/stacks/${name}/runs?limit=${5}`, pageOf(RunView)),
        client.get(path`/stacks/${name}/drift`, Type.Object({ items: Type.Array(DriftItemView) })),
        client.get(path`/stacks/${name}/pending`, PendingView),
      ]);
      const description = { stack, runs: runs.items, drift: drift.items, pending };
      print(description, () => renderDescription(description));
    });
}
