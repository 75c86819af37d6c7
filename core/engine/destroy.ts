import { stalled } from '../domain/errors.ts';
import { urnName } from '../domain/urn.ts';
import { changeSummary, resourceChanges } from './changes.ts';
import { stateResources } from './checkpoint.ts';
import { NO_PROGRAM_VARIABLE } from './host/gate.ts';
import { withGate } from './gated.ts';
import type { ApplyResult, DestroyPreview, DestroyRequest, EngineRequest } from './port.ts';
import { phaseOf } from './events.ts';
import { openSession, type VersionedEngine } from './session.ts';
import { readCheckpoint, readDeployment } from './state.ts';

/**
 * A destroy has no update plan and, by default, runs nothing of ours under the engine's lock. With `--run-program` it asks
 * the language host, which answers for an empty program once the gate consents: everything in the state is then unregistered,
 * which is what a plain destroy does, and no code of the artifact runs.
 */
const FLAGS = ['--refresh=false', '--skip-config-validation'];
const EMPTY_PROGRAM = { [NO_PROGRAM_VARIABLE]: 'true' };

/** Every resource goes by name, so the preview is asked exactly what the destroy will be. */
export async function previewDestroy(engine: VersionedEngine, request: EngineRequest): Promise<DestroyPreview> {
  const resources = stateResources(await readDeployment(engine, request));
  const held = resources.filter(({ protect }) => protect).map(({ urn }) => urnName(urn));
  if (held.length > 0) {
    throw stalled(
      'ResourceProtected',
      `a destroy is refused while ${held.length} resources are protected: ${held.slice(0, 10).join(', ')}. Take \`protect\` off them in the program, have that applied, and ask again`,
    );
  }
  const urns = [...new Set(resources.map(({ urn }) => urn))];
  const retained = resources.filter(({ retained: stays }) => stays).map(({ urn }) => urnName(urn));
  if (urns.length === 0) return { changes: [], summary: {}, urns, retained };
  const session = await openSession(engine, { ...request, targets: urns });
  const log = await session.run({
    operation: 'preview',
    phases: 1,
    extra: FLAGS,
    environment: EMPTY_PROGRAM,
    run: (stack, options) => stack.previewDestroy({ ...options, runProgram: true }),
  });
  const phase = phaseOf(log, 0);
  return { changes: resourceChanges(phase, new Map()), summary: changeSummary(phase), urns, retained };
}

/** Deletes exactly the targets: the engine refuses where something else depends on one of them. */
export async function destroy(engine: VersionedEngine, request: DestroyRequest): Promise<ApplyResult> {
  // Without a target the engine would take everything.
  if (request.targets.length === 0) throw stalled('InternalError', 'a destroy names what it takes away');
  const session = await openSession(engine, request);
  const log = await withGate(request, (environment) =>
    session.run({
      operation: 'destroy',
      phases: 2,
      extra: FLAGS,
      environment: { ...environment, ...EMPTY_PROGRAM },
      run: (stack, options) => stack.destroy({ ...options, runProgram: true }),
    }),
  );
  return { summary: changeSummary(phaseOf(log, 1)), checkpoint: await readCheckpoint(engine, request) };
}
