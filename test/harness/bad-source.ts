import { readdir, readFile, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { expect } from 'vitest';
import type { Reason } from '#core/domain/reason.ts';
import { EMPTY_CONFIG, PROGRAM_ARTIFACT, PROGRAM_LAYER } from '#core/oci/media-types.ts';
import { openArtifacts } from '../../workers/build.ts';
import { startTestPlumbline, type TestPlumbline } from './plumbline.ts';
import { digestOf, imageManifest, MANIFEST_TYPE, pushBlob, putManifest } from './raw-registry.ts';

/** A repository of the test's registry, for pushes that no tool of ours would make. */
export interface BadSource {
  plumbline: TestPlumbline;
  /** Also the name of the stack that follows it. */
  name: string;
  /** `http://host:port/v2/infra/<name>` */
  base: string;
  /** Its folder on the registry's disk. */
  folder: string;
}

/** What the stack has to say about a bad source. */
export interface Complaint {
  reason: Reason;
  /** What happened, where, and what to do. */
  says: (string | RegExp)[];
}

/** A whole Plumbline whose artifact limits come from the settings, as a worker's do. */
export async function startWithLimits(config: Record<string, string>): Promise<TestPlumbline> {
  const plumbline = await startTestPlumbline({ config });
  plumbline.deps.artifacts = openArtifacts(plumbline.deps.config);
  return plumbline;
}

/** The repository `infra/<name>`. */
export function sourceOf(plumbline: TestPlumbline, name: string): BadSource {
  return {
    plumbline,
    name,
    base: `http://${plumbline.registryHost}/v2/infra/${name}`,
    folder: join(dirname(plumbline.deps.config.dataDir), 'registry/repositories/infra', name),
  };
}

/** Pushes a manifest and moves `tag`; the registry must take it. @returns its digest. */
export async function pushRaw(source: BadSource, bytes: string, tag = 'prod', type = MANIFEST_TYPE): Promise<string> {
  const answer = await putManifest(source.base, tag, bytes, type);
  const text = await answer.text();
  if (answer.status !== 201) throw new Error(`the registry refused the manifest: ${answer.status} ${text}`);
  return digestOf(bytes);
}

/** Pushes bytes as the layer of a program, whatever they are. @returns digests of the manifest and of the layer. */
export async function pushProgramLayer(source: BadSource, bytes: Uint8Array, tag = 'prod') {
  const config = await pushBlob(source.base, '{}', EMPTY_CONFIG);
  const layer = await pushBlob(source.base, bytes, PROGRAM_LAYER);
  const manifest = imageManifest({ artifactType: PROGRAM_ARTIFACT, config, layers: [layer] });
  return { manifest: await pushRaw(source, manifest, tag), layer: layer.digest };
}

const onDisk = (source: BadSource, kind: '_blobs' | '_manifests', digest: string) =>
  join(source.folder, kind, ...digest.split(':'));

/** Changes what the registry has on its disk, behind its back. */
export async function spoil(
  source: BadSource,
  kind: '_blobs' | '_manifests',
  digest: string,
  change: (bytes: Buffer) => Buffer,
): Promise<void> {
  const file = onDisk(source, kind, digest);
  await writeFile(file, change(await readFile(file)));
}

/** Moves the tag on the registry's disk and sends the webhook the registry would have sent. */
export async function moveTagOnDisk(source: BadSource, digest: string): Promise<void> {
  await writeFile(join(source.folder, '_tags/prod'), digest);
  const { hook } = source.plumbline;
  const target = { mediaType: MANIFEST_TYPE, repository: `infra/${source.name}`, tag: 'prod', digest };
  const answer = await fetch(hook.url, {
    method: 'POST',
    headers: { authorization: `Bearer ${hook.secret}`, 'content-type': 'application/json' },
    body: JSON.stringify({ events: [{ id: digest, action: 'push', target }] }),
    signal: AbortSignal.timeout(10_000),
  });
  expect(answer.status).toBe(202);
}

/** What a run makes of the engine; drift checks go on by themselves. */
function runCalls({ engine }: TestPlumbline) {
  const { preview, apply, refresh } = engine.calls;
  return { preview, apply, refresh };
}

async function leftovers({ plumbline }: BadSource): Promise<string[]> {
  const { dataDir } = plumbline.deps.config;
  const cached = await readdir(join(dataDir, 'cache/artifacts', plumbline.tenant));
  const runs = await readdir(join(dataDir, 'runs'));
  return [...cached.filter((name) => name.startsWith('.tmp-')), ...runs];
}

async function applied(plumbline: TestPlumbline, name: string, size: number): Promise<string> {
  const newest = (await plumbline.runs(name))[0]?.number ?? 0;
  const digest = await plumbline.push({ resources: { [name]: { size } } }, 'prod', name);
  await plumbline.untilRun(name, ['applied'], newest);
  return digest;
}

/** A stack with an applied revision and one beside it, for any number of bad pushes. */
export interface Victim {
  /**
   * Gives the stack a bad source and holds Plumbline to what it promises of one: the stack says why, nothing is run or
   * applied, what was applied stays so, the next stack goes on, and a good push mends everything.
   */
  refuses(push: (source: BadSource) => Promise<unknown>, complaint: Complaint): Promise<void>;
}

/** Applies the stacks `name` and `<name>-next`. */
export async function openVictim(plumbline: TestPlumbline, name: string): Promise<Victim> {
  const source = sourceOf(plumbline, name);
  const next = `${name}-next`;
  const both = [name, next];
  for (const each of both) await plumbline.stack(each, { approval: { mode: 'auto' }, pulumi: { stack: each } });
  let size = 1;
  const advance = () => Promise.all(both.map((each) => applied(plumbline, each, size)));
  await advance();

  async function expectComplaint({ reason, says }: Complaint): Promise<void> {
    const stalled = await plumbline.untilCondition(name, 'Stalled', reason);
    for (const text of says) expect(stalled.message).toMatch(text);
    expect(await plumbline.condition(name, 'Ready')).toMatchObject({ status: 'False', reason });
    const failed = await plumbline.untilEvent(name, 'RunFailed');
    expect(failed).toMatchObject({ severity: 'error', reason, message: stalled.message });
  }

  return {
    async refuses(push, complaint) {
      const before = {
        applied: (await plumbline.view(name)).status.applied,
        calls: runCalls(plumbline),
        log: plumbline.engine.log.length,
      };
      await push(source);
      await expectComplaint(complaint);
      const [newest] = (await plumbline.runs(name)).filter((run) => run.operation !== 'drift');
      expect(newest).toMatchObject({ state: 'errored', reason: complaint.reason });
      expect((await plumbline.view(name)).status.applied).toEqual(before.applied);
      expect(runCalls(plumbline)).toEqual(before.calls);
      await plumbline.until('nothing to be left on disk', async () =>
        (await leftovers(source)).length === 0 ? true : undefined,
      );

      size += 1;
      await advance();
      expect(plumbline.engine.log.slice(before.log).sort()).toEqual(both.map((each) => `update ${each}`));
      expect(await plumbline.condition(name, 'Stalled')).toBeUndefined();
    },
  };
}
