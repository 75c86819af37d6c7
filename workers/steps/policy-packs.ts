import { cp, mkdir, readdir, realpath, symlink } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled } from '#core/domain/errors.ts';
import type { PolicyPackRef, StackSpec } from '#core/domain/manifest.ts';
import { boundPack, digestOfBound, normalFolder, wantedPacks, type WantedPack } from '#core/domain/policy.ts';
import { parseReference, type Repository } from '#core/domain/reference.ts';
import { isTrusted, verificationReason } from '#core/domain/verification.ts';
import { BUNDLED } from '#core/engine/host/policy-overrides.ts';
import { policyFolder } from '#core/engine/policies.ts';
import { checkPolicyPack, isPolicyPack } from '#core/engine/policy-pack.ts';
import type { EngineRequest, PolicyPack } from '#core/engine/port.ts';
import type { FetchedArtifact, FetchedPart } from '#core/oci/cache.ts';
import { tenantLimits } from '#core/oci/limits.ts';
import { listTree } from '#core/oci/pack-files.ts';
import { assertUnpackable } from '#core/oci/pack-layer.ts';
import { getPlan } from '#core/store/plans.ts';
import type { RunRow } from '#core/store/runs.ts';
import { getTenant } from '#core/store/tenants.ts';
import type { WorkerDeps } from '../deps.ts';
import { checkSignatures } from '../trust.ts';
import { within } from '../within.ts';
import { sourceRegistry } from './resolve.ts';
import type { Workspace } from './workspace.ts';

/** A pack is small; its dependencies come by themselves. */
const FETCH_MS = 10 * 60_000;

/** The policy packs of a run, in its folder. */
export interface RunPacks {
  /** What a request needs to run them, over its own. */
  request(request: EngineRequest): EngineRequest;
  /** What an approval is bound to; see `packsNow`. */
  bound(): Promise<Record<string, string>>;
}

interface PreparedPacks {
  packs: PolicyPack[];
  /** What the sandbox shows beside them. */
  readOnlyDirs: string[];
  /** Lets go of what the cache keeps for them. */
  release(): void;
}

/** A run and where its program came from. */
export interface PackScene {
  run: RunRow;
  workspace: Pick<Workspace, 'runDir'>;
  artifact: FetchedArtifact;
  signal: AbortSignal;
}

/** Where the content of a pack lies before it is copied. */
interface FoundPack extends Pick<PolicyPack, 'name' | 'digest' | 'config'> {
  source: string;
  /** The artifact brings it, so whoever pushed the program wrote it too. */
  bundled: boolean;
  parts: FetchedArtifact['parts'];
}

/** Refresh and drift run no policies, nor does a destroy: Pulumi has none for them. */
function runsPolicies(run: RunRow): boolean {
  return run.operation === 'update' || run.operation === 'rollback';
}

/** A spec whose source is the pack: so its registry, credentials and signers are found as a program's are. */
function specOf(spec: StackSpec, ref: PolicyPackRef, repository: Repository): StackSpec {
  const { credentials, verify } = ref;
  return {
    ...spec,
    source: {
      repository: `oci://${repository.host}/${repository.name}`,
      ref: {},
      ...(credentials === undefined ? {} : { credentials }),
      ...(verify === undefined ? {} : { verify }),
    },
  };
}

/**
 * Why the signatures of a pack do not meet its own policy or, without one, its tenant's; undefined when they do. A stack's
 * exception for its program is none for its packs.
 */
async function mistrust(deps: WorkerDeps, scene: PackScene, at: { spec: StackSpec; digest: string }) {
  const suspect = { tenant: scene.run.tenant, digest: at.digest, spec: at.spec, policyOf: at.spec };
  const verified = await checkSignatures(deps, suspect, scene.signal);
  return isTrusted(verified) ? undefined : verified;
}

async function fetchPack(
  deps: WorkerDeps,
  scene: PackScene,
  { name, ref }: WantedPack,
  known: string | undefined,
): Promise<FetchedArtifact & { digest: string }> {
  const { run, signal } = scene;
  const { repository, tag, digest: written } = parseReference(ref.oci ?? '');
  const spec = specOf(run.spec, ref, repository);
  const client = await sourceRegistry(deps, { tenant: run.tenant, spec }, signal);
  const digest = written ?? known ?? (await client.resolve(repository, tag ?? 'latest', signal)).digest;
  const refused = await mistrust(deps, scene, { spec, digest });
  if (refused !== undefined)
    throw stalled(verificationReason(refused.state), `policy pack ${name} is not run: ${refused.message}`);
  const tenant = await getTenant(deps.db, run.tenant);
  const limits = tenantLimits(tenant?.spec.artifacts ?? {});
  const tooSlow = `policy pack ${name} was not here within ${FETCH_MS / 60_000} min; see whether the registry is slow`;
  const found = await within(FETCH_MS, signal, tooSlow, (limited) =>
    deps.artifacts.fetchArtifact({ tenant: run.tenant, client, repository, digest, limits, signal: limited }),
  );
  return { ...found, digest };
}

/** A folder below `root` that is really there: none of its parts is a link. */
async function folderIn(root: string | undefined, below: string): Promise<string | undefined> {
  if (root === undefined) return undefined;
  const folder = join(root, below);
  if (below.split('/').includes('..') || !(await isPolicyPack(folder))) return undefined;
  return (await realpath(folder)) === join(await realpath(root), below === '.' ? '' : below) ? folder : undefined;
}

async function bundledPack({ artifact, run }: PackScene, { name, ref }: WantedPack): Promise<FoundPack> {
  const { policy } = artifact.parts;
  const config = ref.config ?? {};
  const inLayer = await folderIn(policy?.dir, name);
  if (policy !== undefined && inLayer !== undefined)
    return { name, source: inLayer, digest: policy.digest, config, parts: {}, bundled: true };
  const inProgram = await folderIn(artifact.dir, name);
  if (inProgram === undefined) {
    throw stalled(
      'SpecInvalid',
      `spec.pulumi.policyPacks: neither the artifact nor its layer of policies has a policy pack in the folder ${name}; push one, or correct the path`,
    );
  }
  return { name, source: inProgram, digest: run.digest, config, parts: {}, bundled: true };
}

/** What the artifact brings in its layer of policies runs, named in the spec or not: whoever pushed it wanted it to. */
async function layerPacks(policy: FetchedPart | undefined): Promise<string[]> {
  if (policy === undefined) return [];
  if (await isPolicyPack(policy.dir)) return ['.'];
  const names = (await readdir(policy.dir, { withFileTypes: true })).filter((entry) => entry.isDirectory());
  const found: string[] = [];
  for (const { name } of names.sort((a, b) => (a.name < b.name ? -1 : 1)))
    if (await isPolicyPack(join(policy.dir, name))) found.push(name);
  if (found.length > 0) return found;
  throw stalled(
    'PolicyPackFailed',
    'the artifact has a layer of policies with no policy pack in it, neither at its root nor in a folder; push it again with --with-policies <folder of packs>',
  );
}

/** Every pack the run must run: those of tenant and stack, then those the artifact brings by itself. */
async function packsToRun(deps: WorkerDeps, scene: PackScene): Promise<WantedPack[]> {
  const { run, artifact } = scene;
  const tenant = await getTenant(deps.db, run.tenant);
  const wanted = wantedPacks(tenant?.spec ?? {}, run.spec);
  const named = new Set(wanted.flatMap(({ ref, name }) => (ref.path === undefined ? [] : [name])));
  const brought = (await layerPacks(artifact.parts.policy)).filter((name) => !named.has(normalFolder(name)));
  return [...wanted, ...brought.map((path) => ({ name: path, ref: { path }, from: 'stack' as const }))];
}

/** The pack in a folder of the run's own, which the program cannot change, with its dependencies in place. */
async function place(deps: WorkerDeps, scene: PackScene, found: FoundPack, index: number) {
  const { run, workspace, signal } = scene;
  const { name, digest, config, bundled } = found;
  const dir = join(policyFolder(workspace.runDir), `${index}${bundled ? BUNDLED : '-pack'}`);
  await assertUnpackable({ dir: found.source, files: await listTree(found.source) });
  await cp(found.source, dir, { recursive: true, verbatimSymlinks: true });
  await checkPolicyPack(dir, name);
  const request = { tenant: run.tenant, runId: run.id, programDir: dir, parts: found.parts, signal };
  const { nodeModules } = await deps.dependencies({ ...request, packagesOnly: true });
  if (nodeModules !== undefined) await symlink(nodeModules, join(dir, 'node_modules'));
  return { pack: { name, dir, digest, config }, readOnlyDirs: nodeModules === undefined ? [] : [nodeModules] };
}

/**
 * Puts the policy packs of a run in place: verified, by digest. A tag is resolved for the plan, and the apply runs what the
 * plan ran.
 * @throws ReconcileError stalled PolicyPackFailed | SpecInvalid, and those of signatures, registries and dependencies
 */
async function preparePolicyPacks(deps: WorkerDeps, scene: PackScene): Promise<PreparedPacks> {
  const held: (() => void)[] = [];
  const prepared: PreparedPacks = { packs: [], readOnlyDirs: [], release: () => held.forEach((release) => release()) };
  const wanted = runsPolicies(scene.run) ? await packsToRun(deps, scene) : [];
  if (wanted.length === 0) return prepared;
  const known = (await getPlan(deps.db, scene.run.id))?.bound.policies?.packs ?? {};
  await mkdir(policyFolder(scene.workspace.runDir), { recursive: true, mode: 0o700 });
  try {
    for (const [index, want] of wanted.entries()) {
      const { name, ref } = want;
      let found: FoundPack;
      if (ref.oci === undefined) found = await bundledPack(scene, want);
      else {
        const artifact = await fetchPack(deps, scene, want, digestOfBound(known[name]));
        held.push(deps.artifacts.hold(artifact));
        const { digest, parts, dir: source } = artifact;
        found = { name, source, digest, config: ref.config ?? {}, parts, bundled: false };
      }
      const placed = await place(deps, scene, found, index);
      prepared.packs.push(placed.pack);
      prepared.readOnlyDirs.push(...placed.readOnlyDirs);
    }
    return prepared;
  } catch (error) {
    prepared.release();
    throw error;
  }
}

async function boundNow(
  deps: WorkerDeps,
  scene: PackScene,
  ref: PolicyPackRef,
  pack: PolicyPack | undefined,
): Promise<string> {
  if (pack === undefined) return 'required since the plan was made';
  if (ref.oci !== undefined) {
    const spec = specOf(scene.run.spec, ref, parseReference(ref.oci).repository);
    const refused = await mistrust(deps, scene, { spec, digest: pack.digest });
    if (refused !== undefined) return `no longer trusted (${refused.message})`;
  }
  return boundPack({ ...pack, config: ref.config ?? {} });
}

/**
 * The packs an approval is bound to, as tenant and stack want them right now: one that was added or given other settings since
 * the plan is a difference.
 */
async function packsNow(deps: WorkerDeps, scene: PackScene, prepared: PreparedPacks): Promise<Record<string, string>> {
  if (!runsPolicies(scene.run)) return {};
  const byName = new Map(prepared.packs.map((pack) => [pack.name, pack]));
  const bound: Record<string, string> = {};
  for (const { name, ref } of await packsToRun(deps, scene)) {
    bound[name] = await boundNow(deps, scene, ref, byName.get(name));
  }
  return bound;
}

/** Runs `act` with the run's policy packs in place; none of them, where the run runs none. */
export async function withPolicyPacks<T>(
  deps: WorkerDeps,
  scene: PackScene,
  act: (packs: RunPacks) => Promise<T>,
): Promise<T> {
  const prepared = await preparePolicyPacks(deps, scene);
  try {
    return await act({
      request: (request) => ({
        ...request,
        policyPacks: prepared.packs,
        readOnlyDirs: [...request.readOnlyDirs, ...prepared.readOnlyDirs],
      }),
      bound: () => packsNow(deps, scene, prepared),
    });
  } finally {
    prepared.release();
  }
}
