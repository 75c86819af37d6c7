/** The last part of a URN is the resource's name, and may hold `::` itself. */
export function urnName(urn: string): string {
  return urn.split('::').slice(3).join('::');
}
