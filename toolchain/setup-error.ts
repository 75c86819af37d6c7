import { ConfigError } from '../core/config.ts';

/** Something this machine lacks or refuses; the message alone tells the user what to do, a stack trace would bury it. */
export class SetupError extends Error {}

function tell(error: unknown): void {
  console.error(error instanceof SetupError || error instanceof ConfigError ? error.message : error);
}

/** For a server that failed to start: says why and ends, whatever is still open. */
export function failStart(error: unknown): never {
  tell(error);
  process.exit(1);
}

/** Runs a command's main function and sets the exit code; a `SetupError` or `ConfigError` is told by its message only. */
export async function exitWith(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    tell(error);
    process.exitCode = 1;
  }
}
