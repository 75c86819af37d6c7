import { mkdir, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { CompleteAnswer } from '../store/schema.ts';
import { engineStackName, NO_ORGANIZATION } from './backends.ts';
import { checkImported, settlePending, type SettledState } from './pending.ts';
import type { EngineRequest } from './port.ts';
import { openSession, type Session, type VersionedEngine } from './session.ts';
import { exportState } from './state.ts';

async function importState(session: Session, request: EngineRequest, text: string): Promise<void> {
  const path = join(request.runDir, 'settled.json');
  try {
    await writeFile(path, text, { mode: 0o600 });
    await session.print(['stack', 'import', '--file', path, '--stack', engineStackName(request.identity)]);
  } finally {
    await rm(path, { force: true });
  }
}

/**
 * Tries the answers on a copy of the state: after a wrong id the real one would have lost both the resource and the question.
 * @throws stalled(PendingOperations) naming what does not exist.
 */
async function rehearse(engine: VersionedEngine, request: EngineRequest, settled: SettledState): Promise<void> {
  const folder = join(request.runDir, 'rehearsal');
  await mkdir(folder, { recursive: true, mode: 0o700 });
  const identity = { ...request.identity, backend: `file://${folder}`, organization: NO_ORGANIZATION };
  const copy = { ...request, identity, targets: settled.imported };
  try {
    const session = await openSession(engine, copy);
    await session.print(['stack', 'init', '--no-select', '--stack', engineStackName(identity)]);
    await importState(session, copy, settled.text);
    await session.run({
      operation: 'refresh',
      phases: 1,
      run: (stack, options) => stack.refresh({ ...options, runProgram: false }),
    });
    checkImported(await exportState(session, copy), settled.imported);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/**
 * Settles a person's answers about pending creates in the state, once every imported one is known to exist, and returns the
 * resources that were brought in. The state is changed by one `stack import` or not at all.
 * @throws stalled(PendingOperations) for an answer that is missing or wrong; the state is as it was.
 */
export async function settleAnswers(
  engine: VersionedEngine,
  request: EngineRequest,
  answers: CompleteAnswer[],
): Promise<string[]> {
  if (answers.length === 0) return [];
  const session = await openSession(engine, request);
  const settled = settlePending(await exportState(session, request), answers);
  if (settled === undefined) return [];
  if (settled.imported.length > 0) await rehearse(engine, request, settled);
  await importState(session, request, settled.text);
  return settled.imported;
}
