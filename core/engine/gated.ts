import { transient } from '../domain/errors.ts';
import { openGate } from './gate-server.ts';
import { GATE_VARIABLE } from './host/gate.ts';

/**
 * Runs an operation whose program waits for the gate's consent, given by the environment `run` gets.
 * @throws transient(PlanStale) with the differences the gate found, or what the gate itself threw
 */
export async function withGate<T>(
  request: { runDir: string; gate(): Promise<string[]> },
  run: (environment: Record<string, string>) => Promise<T>,
): Promise<T> {
  const gate = await openGate(request.runDir, () => request.gate());
  try {
    return await run({ [GATE_VARIABLE]: gate.path });
  } catch (error) {
    const differences = gate.differences();
    if (differences.length > 0)
      throw transient('PlanStale', `what was approved no longer holds: ${differences.join('; ')}`, error);
    throw gate.failure() ?? error;
  } finally {
    await gate.close();
  }
}
