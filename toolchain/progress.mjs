/** Built-ins only and plain JavaScript: the bootstrap uses it on Node 20 as well. Types: progress.d.mts. */

const quietMs = 3000;
const lineEveryMs = 10_000;

/** Reports to stderr: one line that is rewritten on a terminal, else a line now and then. */
export function consoleProgress() {
  let lastMs = -Infinity;
  return (text, done) => {
    if (process.stderr.isTTY) {
      process.stderr.write(`\r\x1b[2K${text}${done ? '\n' : ''}`);
      return;
    }
    const nowMs = performance.now();
    if (!done && nowMs - lastMs < lineEveryMs) return;
    lastMs = done ? -Infinity : nowMs;
    process.stderr.write(`${text}\n`);
  };
}

/** Runs `work`; once it has taken 3 s, says what it is and the seconds elapsed, and at the end how long it took. */
export async function step(label, report, work) {
  const startMs = performance.now();
  const seconds = () => Math.round((performance.now() - startMs) / 1000);
  let told = false;
  const timer = setInterval(() => {
    if (performance.now() - startMs < quietMs) return;
    told = true;
    report(`${label} … ${seconds()} s`, false);
  }, 1000);
  try {
    const result = await work();
    if (told) report(`${label}: done in ${seconds()} s`, true);
    return result;
  } catch (error) {
    if (told) report(`${label}: failed after ${seconds()} s`, true);
    throw error;
  } finally {
    clearInterval(timer);
  }
}
