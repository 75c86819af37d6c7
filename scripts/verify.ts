import { runCommand } from './command.ts';

const steps: [string, string[]][] = [
  [process.execPath, ['scripts/generate-openapi.ts']],
  [process.execPath, ['scripts/generate-configuration.ts']],
  ['git', ['ls-files', '--error-unmatch', '--', 'docs/openapi.json', 'docs/configuration.md']],
  ['git', ['diff', '--exit-code', '--', 'docs']],
];

/** `npm run verify`: writes the generated documents anew; fails when they differ from what is committed. */
async function main(): Promise<number> {
  for (const [command, args] of steps) {
    const code = await runCommand(command, args);
    if (code === 0) continue;
    console.error(
      `verify: ${[command, ...args].join(' ')} failed; commit what it wrote under docs/ if that is what you meant`,
    );
    return code;
  }
  return 0;
}

process.exitCode = await main();
