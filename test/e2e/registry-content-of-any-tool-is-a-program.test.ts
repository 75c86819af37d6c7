import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync, zstdCompressSync } from 'node:zlib';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Selection } from '#core/oci/artifact.ts';
import { createArtifactStore } from '#core/oci/cache.ts';
import { contentOf } from '#core/oci/content.ts';
import { digestOf } from '#core/oci/digest.ts';
import { OCI_MANIFEST } from '#core/oci/media-types.ts';
import { pushProgram } from '#core/oci/pack.ts';
import { createRegistryClient, type RegistryClient } from '#core/oci/registry-client.ts';
import { makeTar } from '../../core/oci/test-tar.ts';
import { KINDS, type Served } from './registries.ts';
import { command, findProgram } from './tools.ts';

const START_MS = 600_000;
const NAME = 'infra/shop';
const PROJECT = 'name: shop\nruntime: yaml\n';
const DATA = '{"replicas":3}\n';
const signal = () => AbortSignal.timeout(60_000);

const [oras = '', crane = ''] = [await findProgram('oras'), await findProgram('crane')];
const programs = await Promise.all(
  // Those with passwords show the tools the same docker config that we read.
  KINDS.filter(({ name }) => !name.startsWith('olareg')).map(async (kind) => ({
    ...kind,
    path: kind.program === undefined ? 'built in' : await findProgram(kind.program),
  })),
);

/** The files of a tree by their paths. */
async function filesOf(dir: string): Promise<Record<string, string>> {
  const entries = await readdir(dir, { recursive: true, withFileTypes: true });
  const files = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const read = files
    .toSorted()
    .map(async (file) => [file.slice(dir.length + 1), await readFile(file, 'utf8')] as const);
  return Object.fromEntries(await Promise.all(read));
}

for (const { name, serve, path } of programs) {
  describe.skipIf(path === undefined || oras === '' || crane === '')(`at ${name}`, () => {
    let served: Served;
    let client: RegistryClient;
    /** Where the tools work: `program/` holds a program, the rest are packages of it. */
    let work: string;
    const repository = () => ({ host: served.host, name: NAME });
    const reference = (tag: string) => `${served.host}/${NAME}:${tag}`;

    beforeAll(async () => {
      served = await serve(path ?? '');
      const plainHttpHosts = [served.host, ...(served.tokens === undefined ? [] : [served.tokens.host])];
      client = createRegistryClient({ plainHttpHosts, credentials: () => served.credentials });
      work = await mkdtemp(join(tmpdir(), 'plumbline-content-'));
      await mkdir(join(work, 'program/lib'), { recursive: true });
      await writeFile(join(work, 'program/Pulumi.yaml'), PROJECT);
      await writeFile(join(work, 'program/lib/data.json'), DATA);
      const items = [
        { name: 'Pulumi.yaml', content: PROJECT },
        { name: 'lib/data.json', content: DATA },
      ];
      const tar = await makeTar(items);
      await writeFile(join(work, 'p.tar'), tar);
      await writeFile(join(work, 'p.tar.gz'), gzipSync(tar));
      await writeFile(join(work, 'p.tar.zst'), zstdCompressSync(tar));
      const below = items.map((item) => ({ ...item, name: `program/${item.name}` }));
      await writeFile(join(work, 'layer.tar'), await makeTar(below));
      const { username, password } = served.credentials ?? {};
      if (username !== undefined && password !== undefined) {
        const auth = Buffer.from(`${username}:${password}`).toString('base64');
        await mkdir(join(work, '.docker'));
        await writeFile(join(work, '.docker/config.json'), JSON.stringify({ auths: { [served.host]: { auth } } }));
      }
    }, START_MS);
    afterAll(async () => {
      await client?.close();
      await served?.close();
      await rm(work, { recursive: true, force: true });
    });

    const runOras = (args: string[], cwd = work) => command(oras, args, { cwd, env: { HOME: work } });
    const runCrane = (args: string[]) => command(crane, ['--insecure', ...args], { cwd: work });

    /** What a stack would get of a tag. */
    async function pulled(tag: string, selection: Selection = {}): Promise<Record<string, string>> {
      const { digest } = await client.resolve(repository(), tag, signal());
      const store = createArtifactStore({ dir: join(work, `cache-${tag}`) });
      const request = { tenant: 'shop', client, repository: repository(), digest, selection, signal: signal() };
      return filesOf((await store.fetchArtifact(request)).dir);
    }

    const whole = { 'Pulumi.yaml': PROJECT, 'lib/data.json': DATA };

    it.each<[string, string, string[], Record<string, string>]>([
      ['single files', 'files', ['Pulumi.yaml', 'lib/data.json'], whole],
      ['a file by the old specification', 'old', ['--image-spec=v1.0', 'Pulumi.yaml'], { 'Pulumi.yaml': PROJECT }],
      ['a tar', 'tar', ['../p.tar:application/vnd.oci.image.layer.v1.tar', '--disable-path-validation'], whole],
      ['a tar+gzip', 'gz', ['../p.tar.gz:application/vnd.acme.v1.tar+gzip', '--disable-path-validation'], whole],
      [
        'a tar+zstd',
        'zst',
        ['../p.tar.zst:application/vnd.oci.image.layer.v1.tar+zstd', '--disable-path-validation'],
        whole,
      ],
      ['a folder and a file', 'layers', ['lib/', 'Pulumi.yaml'], whole],
    ])('unpacks what oras pushed: %s', async (_, tag, args, files) => {
      await runOras(['push', '--plain-http', reference(tag), ...args], join(work, 'program'));
      expect(await pulled(tag)).toEqual(files);
    });

    it('unpacks a folder that oras pushed below its name, as `oras pull` does', async () => {
      await runOras(['push', '--plain-http', reference('folder'), 'program/']);
      const theirs = join(work, 'theirs');
      await mkdir(theirs);
      await runOras(['pull', '--plain-http', reference('folder')], theirs);
      const ours = await pulled('folder');
      expect(ours).toEqual({ 'program/Pulumi.yaml': PROJECT, 'program/lib/data.json': DATA });
      expect(ours).toEqual(await filesOf(theirs));
    });

    it.each<[string, string, string[]]>([
      ['of Docker', 'image', []],
      ['of OCI', 'oci-image', ['--oci-empty-base']],
    ])('takes the program out of an image that crane built: %s', async (_, tag, args) => {
      await runCrane(['append', '-f', 'layer.tar', '-t', reference(tag), ...args]);
      await expect(pulled(tag)).rejects.toMatchObject({ kind: 'stalled', reason: 'ArtifactInvalid' });
      expect(await pulled(tag, { imagePath: '/program' })).toEqual(whole);
    });

    it('takes the program out of an archive of `docker save` that crane pushed', async () => {
      const layer = await readFile(join(work, 'layer.tar'));
      const rootfs = { type: 'layers', diff_ids: [digestOf(layer)] };
      const config = JSON.stringify({ architecture: 'amd64', os: 'linux', config: {}, rootfs });
      const index = [{ Config: 'config.json', RepoTags: ['shop:1'], Layers: ['layer.tar'] }];
      const saved = await makeTar([
        { name: 'manifest.json', content: JSON.stringify(index) },
        { name: 'config.json', content: config },
        { name: 'layer.tar', content: layer },
      ]);
      await writeFile(join(work, 'saved.tar'), saved);
      await runCrane(['push', 'saved.tar', reference('saved')]);
      expect(await pulled('saved', { imagePath: '/program' })).toEqual(whole);
    });

    it('follows an index that crane made to its only manifest', async () => {
      await runCrane(['append', '-f', 'layer.tar', '-t', reference('part'), '--oci-empty-base']);
      await runCrane(['index', 'append', '-m', reference('part'), '-t', reference('index')]);
      expect(await pulled('index', { imagePath: '/program' })).toEqual(whole);
    });

    it('unpacks an artifact of the kind `flux push artifact` writes', async () => {
      // fluxcd/pkg oci/push.go: an image config, one layer, annotations on the manifest and no artifact type.
      const layer = contentOf(await readFile(join(work, 'p.tar.gz')), 'application/vnd.cncf.flux.content.v1.tar+gzip');
      const rootfs = { type: 'layers', diff_ids: [digestOf(await readFile(join(work, 'p.tar')))] };
      const created = '2026-01-01T00:00:00Z';
      const image = { created, architecture: '', os: '', config: {}, rootfs, history: [{ created }] };
      const config = contentOf(Buffer.from(JSON.stringify(image)), 'application/vnd.cncf.flux.config.v1+json');
      for (const content of [layer, config]) await client.pushBlob(repository(), content, signal());
      const annotations = {
        'org.opencontainers.image.created': created,
        'org.opencontainers.image.revision': 'main@sha1:8f3a',
        'org.opencontainers.image.source': 'https://git.example.com/infra',
      };
      const layers = [layer.descriptor];
      const manifest = { schemaVersion: 2, mediaType: OCI_MANIFEST, config: config.descriptor, layers, annotations };
      const bytes = Buffer.from(JSON.stringify(manifest));
      await client.pushManifest(repository(), 'flux', { bytes, mediaType: OCI_MANIFEST }, signal());
      expect(await pulled('flux')).toEqual(whole);
    });

    it('refuses a Helm chart by its name', async () => {
      await writeFile(join(work, 'chart.json'), '{"name":"shop","version":"1.0.0","apiVersion":"v2"}');
      const config = '--config=chart.json:application/vnd.cncf.helm.config.v1+json';
      const chart = 'p.tar.gz:application/vnd.cncf.helm.chart.content.v1.tar+gzip';
      await runOras(['push', '--plain-http', reference('chart'), config, chart]);
      await expect(pulled('chart')).rejects.toThrow(/Helm chart/);
    });

    it('gives oras and crane what we pushed, byte for byte', async () => {
      const dir = join(work, 'program');
      const { digest } = await pushProgram(client, { dir, repository: repository(), tag: 'ours' }, signal());
      expect((await runOras(['resolve', '--plain-http', reference('ours')])).trim()).toBe(digest);
      expect((await runCrane(['digest', reference('ours')])).trim()).toBe(digest);
      const manifest = await runCrane(['manifest', reference('ours')]);
      expect(digestOf(Buffer.from(manifest.trimEnd()))).toBe(digest);
      const copied = join(work, 'copied');
      await mkdir(copied);
      await runOras(['pull', '--plain-http', reference('ours')], copied);
      await command('tar', ['-xzf', 'program.tar.gz'], { cwd: copied });
      await rm(join(copied, 'program.tar.gz'));
      expect(await filesOf(copied)).toEqual(whole);
    });
  });
}
