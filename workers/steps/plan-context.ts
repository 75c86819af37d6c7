/** Sealed plans are bound to their run, so that a row cannot be swapped for another's. */
export function planContext(run: { tenant: string; id: string }): string {
  return `plan/${run.tenant}/${run.id}`;
}
