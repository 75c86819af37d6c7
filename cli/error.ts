/** What the process ends with: 1 it failed, 2 it was asked for something that makes no sense. */
export type FailureCode = 1 | 2;

/** An error whose message, one clear sentence, is all the user needs. */
export class CliError extends Error {
  readonly exitCode: FailureCode;

  constructor(message: string, exitCode: FailureCode, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.name = 'CliError';
    this.exitCode = exitCode;
  }
}

/** It was tried and did not work. */
export function failure(message: string, cause?: unknown): CliError {
  return new CliError(message, 1, cause);
}

/** It was not tried: the arguments or the settings are wrong. */
export function usage(message: string): CliError {
  return new CliError(message, 2);
}
