import { connect } from 'node:net';

/** Name of the variable that holds the path of the gate's Unix socket; only an apply sets it. */
export const GATE_VARIABLE = 'PLUMBLINE_GATE';

/** Set where the program counts as empty: a destroy takes what the state holds, and runs nothing of the artifact for it. */
export const NO_PROGRAM_VARIABLE = 'PLUMBLINE_NO_PROGRAM';

/** Whether `Run` is answered without the program, once the gate consents. */
export function runsNoProgram(): boolean {
  return process.env[NO_PROGRAM_VARIABLE] !== undefined;
}

/** An approval is checked against the database and the state in well under a second; a minute is a worker that is gone. */
const GATE_TIMEOUT_MS = 60_000;

/** Fails a `Run` that the gate refused; core/engine/failures.ts knows this text. */
export const GATE_REFUSAL = 'Plumbline refused to run the program:';

const MAX_ANSWER_BYTES = 256 * 1024;

function parseAnswer(text: string): string[] {
  const answer: unknown = JSON.parse(text);
  if (!Array.isArray(answer) || !answer.every((item) => typeof item === 'string')) {
    throw new Error('the worker gave no list of differences');
  }
  return answer;
}

/**
 * Asks the worker what differs from the approved plan, while the engine holds the state's lock.
 * @throws Error when the worker does not answer in a minute, closes early or answers anything but a list: silence is never consent.
 */
export function askGate(path: string, timeoutMs = GATE_TIMEOUT_MS): Promise<string[]> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect(path);
    const timer = setTimeout(
      () => socket.destroy(new Error(`the worker did not answer within ${timeoutMs} ms`)),
      timeoutMs,
    );
    socket.setEncoding('utf8');
    socket.on('data', (piece: string) => {
      text += piece;
      if (text.length > MAX_ANSWER_BYTES) socket.destroy(new Error('the answer is too long'));
    });
    socket.on('error', reject);
    socket.on('close', () => {
      clearTimeout(timer);
      try {
        resolve(parseAnswer(text));
      } catch (error) {
        reject(error instanceof Error ? error : new Error(String(error)));
      }
    });
  });
}

/**
 * Why the program may not run, or undefined when it may. The gate stands before the preview phase of an `up`: by then the
 * engine holds the lock and nothing has changed. Only an apply has one.
 */
export async function gateRefusal(dryRun: boolean): Promise<string | undefined> {
  const path = process.env[GATE_VARIABLE];
  if (path === undefined || !dryRun) return undefined;
  try {
    const differences = await askGate(path);
    return differences.length === 0 ? undefined : `${GATE_REFUSAL} ${differences.join('; ')}`;
  } catch (error) {
    return `${GATE_REFUSAL} the approval could not be checked: ${error instanceof Error ? error.message : String(error)}`;
  }
}
