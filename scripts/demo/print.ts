const tty = process.stdout.isTTY === true;
const paint = (code: number, text: string) => (tty ? `\u001b[${code}m${text}\u001b[0m` : text);

/** Seconds with one decimal. */
function seconds(ms: number): string {
  return `${(ms / 1000).toFixed(1)} s`;
}

/** A line that belongs to the step under way. */
export function say(text: string): void {
  for (const line of text.split('\n')) process.stdout.write(`    ${line}\n`);
}

export function heading(text: string): void {
  process.stdout.write(`\n${paint(1, text)}\n`);
}

/** Runs one named step and prints how long it took; a failure names the step. */
export async function step<T>(name: string, act: () => Promise<T>): Promise<T> {
  const from = performance.now();
  process.stdout.write(`${paint(36, '▸')} ${name}\n`);
  try {
    const result = await act();
    process.stdout.write(`${paint(32, '✔')} ${name} ${paint(2, `(${seconds(performance.now() - from)})`)}\n`);
    return result;
  } catch (error) {
    process.stdout.write(`${paint(31, '✘')} ${name} ${paint(2, `(${seconds(performance.now() - from)})`)}\n`);
    throw error;
  }
}
