/** One measure against its peer: times or sizes of both sides, the same work measured in turn. */
export interface Compared {
  /** Key in the JSON output. */
  key: string;
  /** What is divided by what, for people. */
  name: string;
  ours: number[];
  peer: number[];
  /** Figure of one side that is divided. */
  figure: 'median' | 'p99';
  /** Of both sides; milliseconds by default. */
  unit?: 'ms' | 'MiB';
  /** What a reader has to know to read the ratio. */
  note: string;
}

/**
 * Value below which the share `share` (0 to 1) of the values lies, by the nearest rank.
 * @throws Error without values.
 */
export function quantile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  const value = sorted[Math.min(sorted.length - 1, Math.max(0, Math.ceil(share * sorted.length) - 1))];
  if (value === undefined) throw new Error('there is nothing to take a quantile of');
  return value;
}

/**
 * Middle value; of an even number of values the mean of the two in the middle.
 * @throws Error without values.
 */
export function median(values: readonly number[]): number {
  const half = Math.floor(values.length / 2);
  if (values.length % 2 === 1) return quantile(values, 0.5);
  const sorted = values.toSorted((a, b) => a - b);
  return (quantile(sorted.slice(0, half), 1) + quantile(sorted.slice(half), 0)) / 2;
}

/** The figure of both sides, in their unit, and ours divided by the peer's. */
export function ratioOf({ ours, peer, figure }: Compared): { ours: number; peer: number; ratio: number } {
  const of = (values: readonly number[]) => (figure === 'median' ? median(values) : quantile(values, 0.99));
  return { ours: of(ours), peer: of(peer), ratio: of(ours) / of(peer) };
}

/** One line of the report; of medians also the least and greatest ratio of neighbours, which shows the noise. */
export function ratioLine(compared: Compared): string {
  const { ours, peer, ratio } = ratioOf(compared);
  const shown = (value: number) => `${value.toFixed(value < 100 ? 1 : 0)} ${compared.unit ?? 'ms'}`;
  const pairs = compared.ours
    .slice(0, compared.peer.length)
    .map((value, index) => value / (compared.peer[index] ?? value));
  const range = `, pairs ${Math.min(...pairs).toFixed(2)} to ${Math.max(...pairs).toFixed(2)}`;
  const spread = compared.figure === 'median' ? range : '';
  const samples = `${compared.ours.length} : ${compared.peer.length} samples`;
  return `${ratio.toFixed(2).padStart(6)}  ${compared.name} (${compared.figure} ${shown(ours)} : ${shown(peer)}${spread}, ${samples}; ${compared.note})`;
}
