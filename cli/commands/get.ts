import { Argument, type Command } from 'commander';
import {
  ReceiverView,
  RevisionView,
  RunView,
  SecretView,
  StackView,
  TenantView,
  TokenView,
} from '#core/domain/view.ts';
import { createContext, type Context } from '../context.ts';
import { failure, usage } from '../error.ts';
import { age, renderTable, shortDigest, shortRevision } from '../table.ts';

function readyOf(stack: StackView): string {
  const of = (type: string) => stack.status.conditions.find((condition) => condition.type === type);
  const drifted = of('Drifted')?.status === 'True' ? ', drifted' : '';
  return `${of('Ready')?.status ?? 'Unknown'}${drifted}`;
}

/** One word; `plumb describe` says who. */
function signedOf(stack: StackView): string {
  const state = stack.status.verification?.state;
  if (state === undefined) return '-';
  if (state === 'verified') return 'yes';
  return state === 'unsigned' ? 'UNSIGNED' : 'no';
}

async function getStacks({ client, path, print, settings }: Context, name?: string) {
  const items =
    name === undefined
      ? await client.list(path`/stacks`, StackView)
      : [await client.get(path`/stacks/${name}`, StackView)];
  print(name === undefined ? { items } : items[0], () =>
    renderTable(
      ['NAME', 'READY', 'SIGNED', 'APPLIED', 'WHY'],
      items.map((stack) => [
        stack.name,
        readyOf(stack),
        signedOf(stack),
        shortRevision(stack.status.applied?.revision ?? '-'),
        stack.why,
      ]),
      `There is no stack in tenant ${settings.tenant}.`,
    ),
  );
}

/** Runs as a table; used by `describe` as well. */
export function renderRuns(runs: readonly RunView[], now: Date): string {
  return renderTable(
    ['RUN', 'OPERATION', 'TRIGGER', 'STATE', 'REVISION', 'PLAN', 'AGE', 'MESSAGE'],
    runs.map((run) => [
      String(run.number),
      run.operation,
      run.trigger,
      run.state,
      shortRevision(run.revision),
      run.planDigest === null ? '-' : shortDigest(run.planDigest),
      age(run.createdAt, now),
      run.message,
    ]),
    'There is no run yet.',
  );
}

async function getRuns({ client, path, print }: Context, stack?: string) {
  if (stack === undefined) throw usage('runs belong to a stack: plumb get runs <stack>');
  const items = await client.list(path`/stacks/${stack}/runs?limit=${50}`, RunView);
  print({ items }, () => renderRuns(items, new Date()));
}

async function getRevisions({ client, path, print }: Context, stack?: string) {
  if (stack === undefined) throw usage('revisions belong to a stack: plumb get revisions <stack>');
  const items = await client.list(path`/stacks/${stack}/revisions`, RevisionView);
  print({ items }, () =>
    renderTable(
      ['REVISION', 'FIRST SEEN', 'LAST SEEN', 'APPLIED'],
      items.map((item) => [item.revision, item.firstSeenAt, item.lastSeenAt, item.appliedAt ?? '-']),
      'The source has named nothing yet.',
    ),
  );
}

/** Lists that are short and have no address of their own for one of them. */
async function getNamed<T extends { name: string }>(
  context: Context,
  items: T[],
  name: string | undefined,
  table: { head: string[]; row: (item: T) => string[]; empty: string },
) {
  const found = items.filter((item) => name === undefined || item.name === name);
  if (name !== undefined && found.length === 0)
    throw failure(`there is no ${JSON.stringify(name)} in tenant ${context.settings.tenant}`);
  context.print(name === undefined ? { items: found } : found[0], () =>
    renderTable(table.head, found.map(table.row), table.empty),
  );
}

async function getReceivers(context: Context, name?: string) {
  const items = await context.client.list(context.path`/receivers`, ReceiverView);
  await getNamed(context, items, name, {
    head: ['NAME', 'TYPE', 'SUSPENDED', 'HOOK'],
    row: (item) => [item.name, item.type, item.suspended ? 'yes' : 'no', item.hook ?? '(operators only)'],
    empty: 'There is no receiver.',
  });
}

async function getSecrets(context: Context, name?: string) {
  const items = await context.client.list(context.path`/secrets`, SecretView);
  await getNamed(context, items, name, {
    head: ['NAME', 'VERSION', 'UPDATED'],
    row: (item) => [item.name, String(item.version), item.updatedAt],
    empty: 'There is no secret.',
  });
}

async function getTokens(context: Context, name?: string) {
  const items = await context.client.list(context.path`/tokens`, TokenView);
  await getNamed(context, items, name, {
    head: ['NAME', 'ROLE', 'CREATED', 'EXPIRES'],
    row: (item) => [item.name, item.role, item.createdAt, item.expiresAt ?? 'never'],
    empty: 'There is no token.',
  });
}

async function getTenants(context: Context, name?: string) {
  await getNamed(context, await context.client.list('/v1/tenants', TenantView), name, {
    head: ['NAME', 'SIGNATURES', 'DESCRIPTION', 'CREATED'],
    row: (item) => [item.name, item.signatures, item.description ?? '', item.createdAt],
    empty: 'There is no tenant.',
  });
}

const KINDS = {
  stacks: getStacks,
  runs: getRuns,
  revisions: getRevisions,
  receivers: getReceivers,
  secrets: getSecrets,
  tokens: getTokens,
  tenants: getTenants,
} as const;

function isKind(text: string): text is keyof typeof KINDS {
  return Object.hasOwn(KINDS, text);
}

/** `plumb get`: lists. */
export function getCommand(program: Command): void {
  program
    .command('get')
    .description('list what there is; runs and revisions take the name of a stack')
    .addArgument(new Argument('<kind>').choices(Object.keys(KINDS)))
    .argument('[name]')
    .action(async (kind: string, name: string | undefined, _options: object, command: Command) => {
      if (isKind(kind)) await KINDS[kind](createContext(command), name);
    });
}
