/** A compare-and-set found something else than expected: nothing was changed. The HTTP API answers 409 with the message. */
export class Conflict extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'Conflict';
  }
}

/** PostgreSQL's unique_violation (manual, appendix A). */
export function isUniqueViolation(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === '23505';
}
