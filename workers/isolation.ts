import type { Config } from '#core/config.ts';
import { stalled } from '#core/domain/errors.ts';
import type { StackSpec, TenantSpec } from '#core/domain/manifest.ts';
import {
  directTargets,
  normalizeHost,
  parseEgress,
  stackRuleProblem,
  type EgressRule,
} from '#core/engine/egress/rules.ts';
import { checkIsolation, isolationWords } from '#core/engine/isolation.ts';
import type { EngineRequest, ProcessLimits, RunNetwork } from '#core/engine/port.ts';
import type { RunRow } from '#core/store/runs.ts';
import { getTenant } from '#core/store/tenants.ts';
import type { WorkerDeps } from './deps.ts';

const MIB = 1024 ** 2;
const POSTGRES_PORT = 5432;

/** The settings that decide what runs of different tenants share. */
export type IsolationConfig = Pick<
  Config,
  'PLUMBLINE_ISOLATION' | 'PLUMBLINE_NETWORK' | 'PLUMBLINE_EGRESS_ALLOW' | 'PLUMBLINE_WORKER_TENANT'
>;

/** The tenants a worker serves, each once. */
export function servedTenants({ PLUMBLINE_WORKER_TENANT }: Pick<Config, 'PLUMBLINE_WORKER_TENANT'>): string[] {
  const names = PLUMBLINE_WORKER_TENANT.split(',').map((name) => name.trim());
  return [...new Set(names.filter((name) => name !== ''))];
}

/** One sentence when the settings do not go together (design, rule 10); undefined when they do. */
export function isolationProblem(config: IsolationConfig): string | undefined {
  const tenants = servedTenants(config);
  const { PLUMBLINE_ISOLATION: isolation, PLUMBLINE_NETWORK: network } = config;
  if (tenants.length === 0) return 'PLUMBLINE_WORKER_TENANT names no tenant; set it to the tenant this worker serves.';
  if (network === 'filtered' && isolation === 'none')
    return 'PLUMBLINE_NETWORK=filtered needs namespaces; set PLUMBLINE_ISOLATION=namespaces, or PLUMBLINE_NETWORK=host.';
  if (tenants.length > 1 && (isolation !== 'namespaces' || network !== 'filtered'))
    return `PLUMBLINE_WORKER_TENANT names ${tenants.length} tenants, whose programs could reach each other; set PLUMBLINE_ISOLATION=namespaces and PLUMBLINE_NETWORK=filtered, or start one worker a tenant.`;
  try {
    allowList(config.PLUMBLINE_EGRESS_ALLOW);
  } catch (error) {
    return `PLUMBLINE_EGRESS_ALLOW: ${error instanceof Error ? error.message : String(error)}.`;
  }
  return undefined;
}

/**
 * Refuses to start a worker whose runs cannot be isolated the way the settings ask, or not enough for its tenants.
 * @throws Error with one sentence.
 */
export async function requireIsolation(config: IsolationConfig): Promise<void> {
  const problem = isolationProblem(config);
  if (problem !== undefined) throw new Error(problem);
  if (config.PLUMBLINE_ISOLATION === 'none') return;
  const missing = await checkIsolation(config.PLUMBLINE_NETWORK);
  if (missing !== undefined)
    throw new Error(`${missing} Or set PLUMBLINE_ISOLATION=none and accept that a dead worker is never proved dead.`);
}

function allowList(text: string): EgressRule[] {
  return parseEgress(
    text
      .split(',')
      .map((rule) => rule.trim())
      .filter((rule) => rule !== ''),
  );
}

function rulesOf(where: string, texts: readonly string[]): EgressRule[] {
  try {
    return parseEgress(texts);
  } catch (error) {
    throw stalled('SpecInvalid', `${where}: ${error instanceof Error ? error.message : String(error)}`, error);
  }
}

/** A spec asks for less than the worker allows, or gets what the worker allows. */
export function runLimits(
  config: Pick<Config, 'PLUMBLINE_RUN_MEMORY_MB' | 'PLUMBLINE_RUN_PROCESSES' | 'PLUMBLINE_RUN_FILE_MB'>,
  spec: Pick<StackSpec, 'limits'>,
): ProcessLimits {
  const { memoryMb = Infinity, processes = Infinity } = spec.limits ?? {};
  return {
    memoryBytes: Math.min(memoryMb, config.PLUMBLINE_RUN_MEMORY_MB) * MIB,
    processes: Math.min(processes, config.PLUMBLINE_RUN_PROCESSES),
    fileBytes: config.PLUMBLINE_RUN_FILE_MB * MIB,
  };
}

/** A state in PostgreSQL is reached without a proxy, so without its rule no operation could begin. */
function requireBackend(rules: readonly EgressRule[], backend: string): void {
  const url = URL.parse(backend);
  if (url === null || !/^postgres(ql)?:$/.test(url.protocol)) return;
  const [host, port] = [normalizeHost(url.hostname), Number(url.port || POSTGRES_PORT)];
  if (directTargets(rules).some((target) => target.host === host && target.port === port)) return;
  throw stalled(
    'SpecInvalid',
    `the state lies in PostgreSQL at ${host}:${port}, which a filtered network does not reach; add "tcp://${host}:${port}" to PLUMBLINE_EGRESS_ALLOW or to spec.network.egress of the Tenant`,
  );
}

/**
 * What a run may reach: the lists of the installation, the tenant and the stack together.
 * @throws ReconcileError(stalled, SpecInvalid): a rule that cannot be read or names addresses a Stack may not open, metadata
 * the tenant does not allow, or a backend no rule leads to.
 */
export function runNetwork(
  config: IsolationConfig,
  tenant: Pick<TenantSpec, 'network'>,
  spec: Pick<StackSpec, 'network'>,
  backend: string,
): RunNetwork {
  if (config.PLUMBLINE_NETWORK === 'host') return { mode: 'host', egress: [], metadata: false };
  const own = rulesOf('spec.network.egress of the Stack', spec.network?.egress ?? []);
  const granted = [
    ...allowList(config.PLUMBLINE_EGRESS_ALLOW),
    ...rulesOf('spec.network.egress of the Tenant', tenant.network?.egress ?? []),
  ];
  const problem = stackRuleProblem(own, granted);
  if (problem !== undefined) throw stalled('SpecInvalid', `spec.network.egress of the Stack: ${problem}`);
  const metadata = spec.network?.metadata === true;
  if (metadata && tenant.network?.metadata !== 'allowed')
    throw stalled(
      'SpecInvalid',
      'spec.network.metadata: the metadata address gives out the identity of the worker, so the Tenant must allow it first (spec.network.metadata: allowed)',
    );
  const rules = [...granted, ...own];
  requireBackend(rules, backend);
  return { mode: 'filtered', egress: rules.map(({ text }) => text), metadata };
}

/**
 * The limits and the network of a run. What isolation it has is recorded on it and, where there is none, logged.
 * @throws ReconcileError as `runNetwork` does.
 */
export async function confineRun(
  deps: Pick<WorkerDeps, 'config' | 'db' | 'logger'>,
  run: Pick<RunRow, 'id' | 'number' | 'tenant' | 'spec' | 'isolation'>,
  backend: string,
): Promise<Required<Pick<EngineRequest, 'limits' | 'network'>>> {
  const { config, db, logger } = deps;
  const tenant = await getTenant(db, run.tenant);
  const network = runNetwork(config, tenant?.spec ?? {}, run.spec, backend);
  const isolation = isolationWords({ isolation: config.PLUMBLINE_ISOLATION, network: network.mode }, network.metadata);
  if (run.isolation !== isolation) {
    await db.updateTable('runs').set({ isolation }).where('id', '=', run.id).execute();
    if (config.PLUMBLINE_ISOLATION === 'none') logger.warn({ run: run.id, isolation }, 'the run is not isolated');
  }
  return { limits: runLimits(config, run.spec), network };
}
