import { runCommand } from './command.ts';

const checks: Record<string, [string, string[]]> = {
  types: ['tsc', ['-p', '.']],
  lint: ['oxlint', ['--deny-warnings']],
  format: ['oxfmt', ['--check']],
  unused: ['knip', []],
  unit: ['vitest', ['run', '--project', 'unit']],
};

/** `npm run check [-- name…]`: every check, or those named; all of them run, even when one fails. */
async function main(names: string[]): Promise<number> {
  const failed: string[] = [];
  for (const name of names.length === 0 ? Object.keys(checks) : names) {
    const check = checks[name];
    if (check === undefined) throw new Error(`There is no check ${name}; there are ${Object.keys(checks).join(', ')}`);
    const startMs = performance.now();
    const code = await runCommand(...check);
    console.log(`${name}: ${code === 0 ? 'ok' : 'failed'} in ${((performance.now() - startMs) / 1000).toFixed(1)} s`);
    if (code !== 0) failed.push(name);
  }
  if (failed.length > 0) console.error(`failed: ${failed.join(', ')}`);
  return failed.length === 0 ? 0 : 1;
}

process.exitCode = await main(process.argv.slice(2));
