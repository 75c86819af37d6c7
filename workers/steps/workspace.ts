import { randomUUID } from 'node:crypto';
import { cp, mkdir, rm, symlink, access } from 'node:fs/promises';
import { join, resolve, sep } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import { parseRepository } from '#core/domain/reference.ts';
import { runFolders } from '#core/engine/environment.ts';
import { readProject } from '#core/engine/project.ts';
import type { RunRow } from '#core/store/runs.ts';
import type { StackRow } from '#core/store/stacks.ts';
import type { WorkerDeps } from '../deps.ts';
import { runLog } from '../log.ts';
import { sourceRegistry } from './resolve.ts';

/** A run's private folder: the program in place, nothing else of ours. */
export interface Workspace {
  runDir: string;
  programDir: string;
  /** Project name of Pulumi.yaml. */
  project: string;
  dependencies: string;
  readOnlyDirs: string[];
}

/** Pulls the run's artifact into the cache, by digest, and returns the folder it was unpacked to. */
export async function fetchProgram(
  deps: WorkerDeps,
  stack: StackRow,
  run: RunRow,
  signal: AbortSignal,
): Promise<string> {
  const registry = await sourceRegistry(deps, { ...stack, spec: run.spec });
  const repository = parseRepository(run.spec.source.repository);
  const artifact = await deps.artifacts.fetchArtifact({
    tenant: stack.tenant,
    client: registry,
    repository,
    digest: run.digest,
    signal,
  });
  return artifact.dir;
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
  artifactDir: string,
  signal: AbortSignal,
): Promise<Workspace> {
  const source = programFolder(artifactDir, run.spec.source.path ?? '.');
  const exists = await access(source).then(
    () => true,
    () => false,
  );
  if (!exists) throw stalled('SpecInvalid', `the artifact has no folder ${run.spec.source.path}; see spec.source.path`);
  const runDir = join(deps.config.dataDir, 'runs', `${run.id}-${randomUUID().slice(0, 8)}`);
  const programDir = join(runDir, 'program');
  await mkdir(runDir, { recursive: true, mode: 0o700 });
  try {
    await cp(source, programDir, { recursive: true, verbatimSymlinks: true });
    const project = await readProject(programDir);
    const found = await deps.dependencies({ tenant: run.tenant, runId: run.id, programDir, signal });
    if (found.nodeModules !== undefined) await symlink(found.nodeModules, join(programDir, 'node_modules'));
    if (found.plugins !== undefined) await linkPlugins(runDir, found.plugins);
    const readOnlyDirs = [found.nodeModules, found.plugins].filter((dir) => dir !== undefined);
    return { runDir, programDir, project: project.name, dependencies: found.digest, readOnlyDirs };
  } catch (error) {
    await rm(runDir, { recursive: true, force: true });
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
  artifactDir: string,
  signal: AbortSignal,
  act: (scene: RunScene) => Promise<T>,
): Promise<T> {
  const workspace = await prepareWorkspace(deps, run, artifactDir, signal);
  const log = runLog(deps, run);
  try {
    return await act({ workspace, onOutput: log.write });
  } finally {
    await log.close();
    await rm(workspace.runDir, { recursive: true, force: true });
  }
}
