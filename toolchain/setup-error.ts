import { ConfigError } from '../core/config.ts';

/** Something this machine lacks or refuses; the message alone tells the user what to do, a stack trace would bury it. */
export class SetupError extends Error {}

/** Runs a command's main function and sets the exit code; a `SetupError` or `ConfigError` is told by its message only. */
export async function exitWith(main: () => Promise<number>): Promise<void> {
  try {
    process.exitCode = await main();
  } catch (error) {
    console.error(error instanceof SetupError || error instanceof ConfigError ? error.message : error);
    process.exitCode = 1;
  }
}
