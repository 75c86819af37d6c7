import { randomUUID } from 'node:crypto';
import { cp, mkdir, realpath, rm, stat, symlink } from 'node:fs/promises';
import { join, relative, resolve, sep } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import type { StackSpec } from '#core/domain/manifest.ts';
import { parseRepository } from '#core/domain/reference.ts';
import { runFolders } from '#core/engine/environment.ts';
import { readProject } from '#core/engine/project.ts';
import type { FetchedArtifact } from '#core/oci/cache.ts';
import { diskFull, isDiskFull } from '#core/oci/disk.ts';
import { IGNORE_FILE } from '#core/oci/ignore.ts';
import { tenantLimits } from '#core/oci/limits.ts';
import { listTree } from '#core/oci/pack-files.ts';
import { assertUnpackable } from '#core/oci/pack-layer.ts';
import { ignoreOf } from '#core/oci/prune.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import { getTenant } from '#core/store/tenants.ts';
import type { WorkerDeps } from '../deps.ts';
import { runLog } from '../log.ts';
import { within } from '../within.ts';
import { sourceRegistry } from './resolve.ts';

/** A run's private folder: the program in place, nothing else of ours. */
export interface Workspace {
  runDir: string;
  programDir: string;
  /** Project name of Pulumi.yaml. */
  project: string;
  dependencies: string;
  readOnlyDirs: string[];
  /** Beside `runDir`, for what a run may read and never write; made by whoever needs it, and deleted with `runDir`. */
  identityDir: string;
  /** Aborted before the folders are deleted. */
  ended: AbortSignal;
}

/** All layers together; 256 MiB in this time are 1.2 Mbit/s. */
const FETCH_MS = 30 * 60_000;

/**
 * Pulls the run's artifact into the cache, by digest, and returns what it was unpacked to. Whoever runs a program from it
 * asks `requireTrust` first.
 */
export async function fetchProgram(
  deps: WorkerDeps,
  stack: StackRow,
  run: RunRow,
  signal: AbortSignal,
): Promise<FetchedArtifact> {
  const { source } = run.spec;
  const { layerSelector, imagePath, ignore } = source;
  const registry = await sourceRegistry(deps, run, signal);
  const tenant = await getTenant(deps.db, stack.tenant);
  const repository = parseRepository(source.repository);
  const tooSlow = `${repository.host}/${repository.name}@${run.digest} was not here within ${FETCH_MS / 60_000} min; see whether the registry is slow`;
  return await within(FETCH_MS, signal, tooSlow, (limited) =>
    deps.artifacts.fetchArtifact({
      tenant: stack.tenant,
      client: registry,
      repository,
      digest: run.digest,
      selection: {
        ...(layerSelector === undefined ? {} : { layerSelector }),
        ...(imagePath === undefined ? {} : { imagePath }),
        ...(ignore === undefined ? {} : { ignore }),
      },
      limits: tenantLimits(tenant?.spec.artifacts ?? {}),
      signal: limited,
    }),
  );
}

/**
 * The folder of the program inside the tree. Only it is copied, so its links may not lead out of it either.
 * @throws ReconcileError stalled SpecInvalid: the folder, or its Pulumi.yaml, is not in the artifact or was left out of it;
 * UnpackRefused: a link leads out
 */
async function requireFolder(tree: string, { path = '.', ignore }: StackSpec['source']): Promise<string> {
  const folder = programFolder(tree, path);
  const below = relative(tree, folder);
  const has = async (name: string) => await stat(join(folder, name)).then(() => true, () => false); // prettier-ignore
  const rules = (await has('Pulumi.yaml')) ? undefined : await ignoreOf(tree, ignore);
  if (rules?.(join(below, 'Pulumi.yaml'), false) === true) {
    throw stalled(
      'SpecInvalid',
      `Pulumi.yaml of ${path} is left out by spec.source.ignore or the artifact's ${IGNORE_FILE}; name it there with a leading !`,
    );
  }
  if (!(await has('.'))) throw stalled('SpecInvalid', `the artifact has no folder ${path}; see spec.source.path`);
  if (below === '') return folder;
  if ((await realpath(folder)) !== join(await realpath(tree), below)) {
    throw stalled('SpecInvalid', `spec.source.path ${path} goes through a link; name the folder itself`);
  }
  await assertUnpackable({ dir: folder, files: await listTree(folder) });
  return folder;
}

function programFolder(artifactDir: string, path: string): string {
  const folder = resolve(artifactDir, path);
  if (folder === artifactDir || folder.startsWith(artifactDir + sep)) return folder;
  throw stalled('SpecInvalid', `spec.source.path ${JSON.stringify(path)} leaves the artifact; name a folder inside it`);
}

/** The engine looks for plugins in its home only. */
async function linkPlugins(runDir: string, plugins: string): Promise<void> {
  const { pulumiHome } = runFolders(runDir);
  await mkdir(pulumiHome, { recursive: true, mode: 0o700 });
  await symlink(plugins, join(pulumiHome, 'plugins'));
}

/** Copies the program, checks it may run at all, and puts its dependencies in place. The caller deletes `runDir`. */
async function prepareWorkspace(
  deps: WorkerDeps,
  run: RunRow,
  artifact: FetchedArtifact,
  signal: AbortSignal,
): Promise<Omit<Workspace, 'ended'>> {
  const source = await requireFolder(artifact.dir, run.spec.source);
  const runDir = join(deps.config.dataDir, 'runs', `${run.id}-${randomUUID().slice(0, 8)}`);
  const programDir = join(runDir, 'program');
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  try {
    await cp(source, programDir, { recursive: true, verbatimSymlinks: true });
    const project = await readProject(programDir);
    const { parts } = artifact;
    const found = await deps.dependencies({ tenant: run.tenant, runId: run.id, programDir, parts, signal });
    if (found.nodeModules !== undefined) await symlink(found.nodeModules, join(programDir, 'node_modules'));
    if (found.plugins !== undefined) await linkPlugins(runDir, found.plugins);
    const readOnlyDirs = [found.nodeModules, found.plugins].filter((dir) => dir !== undefined);
    const identityDir = `${runDir}.identity`;
    return { runDir, programDir, project: project.name, dependencies: found.digest, readOnlyDirs, identityDir };
  } catch (error) {
    await rm(runDir, { recursive: true, force: true });
    if (isDiskFull(error)) throw await diskFull(error, deps.config.dataDir, `the program of run ${run.number}`);
    throw error;
  }
}

/** What an engine operation of a run works in and prints to. */
export interface RunScene {
  workspace: Workspace;
  onOutput: (text: string) => void;
}

/** Runs `act` in a workspace of the run's artifact; whatever happens, the log is written and the folder is gone afterwards. */
export async function withWorkspace<T>(
  deps: WorkerDeps,
  run: RunRow,
  artifact: FetchedArtifact,
  signal: AbortSignal,
  act: (scene: RunScene) => Promise<T>,
): Promise<T> {
  // The run reads its dependencies where the cache has them.
  const release = deps.artifacts.hold(artifact);
  try {
    const ending = new AbortController();
    const workspace = { ...(await prepareWorkspace(deps, run, artifact, signal)), ended: ending.signal };
    const log = runLog(deps, run);
    try {
      return await act({ workspace, onOutput: log.write });
    } finally {
      ending.abort();
      await log.close();
      await rm(workspace.identityDir, { recursive: true, force: true });
      await rm(workspace.runDir, { recursive: true, force: true });
    }
  } finally {
    release();
  }
}
