import type { Command } from 'commander';
import { ApplyResultView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { inTenant, readManifests } from '../manifests.ts';

async function apply(_arguments: object, command: Command) {
  const context = createContext(command);
  const { file, dryRun } = command.opts<{ file: string[]; dryRun?: boolean }>();
  const read = await readManifests(file);
  const { tenant, tenantChosen } = context.settings;
  const manifests = tenantChosen ? read.map((manifest) => inTenant(manifest, tenant)) : read;
  if (manifests.length === 0) throw usage(`${file.join(', ')}: there is no manifest`);
  const answer = await context.client.post('/v1/apply', { manifests, dryRun: dryRun === true }, ApplyResultView);
  context.print(answer, () =>
    answer.results
      .flatMap(({ kind, tenant, name, action, token, hook }) => [
        `${kind} ${tenant === null ? '' : `${tenant}/`}${name} ${action}${answer.dryRun ? ' (dry run)' : ''}`,
        ...(token === undefined ? [] : [`  token, shown this once: ${token}`]),
        ...(hook === undefined ? [] : [`  post to: ${context.settings.url}${hook}`]),
      ])
      .join('\n'),
  );
}

/** `plumb apply`: desired state, as people write it. */
export function applyCommand(program: Command): void {
  program
    .command('apply')
    .description('create or change what the manifests say, all of them or none')
    .requiredOption('-f, --file <path...>', 'YAML or JSON file, a folder of them, or - for standard input')
    .option('--dry-run', 'check and compare everything, change nothing')
    .action(apply);
}
