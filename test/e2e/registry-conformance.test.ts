import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { parse } from 'yaml';
import { startRegistry, type RunningRegistry } from '../../registry/server.ts';
import { ensureTool } from '../../toolchain/go-tools.ts';

const run = promisify(execFile);
/** What the suite leaves out by its own defaults: they belong to the next version of the specification. */
const DISABLED_APIS = ['Blob upload cancel', 'Manifest put with tag params'];
const DISABLED_DATA = ['Sparse Manifests', 'Tag Param', 'Tag Param sha512'];

interface Results {
  config: { version: string };
  apis: Record<string, string>;
  data: Record<string, string>;
}

let folder: string;
let registry: RunningRegistry;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'registry-conformance-'));
  registry = await startRegistry({ dir: join(folder, 'data'), auth: { username: 'plumb', password: 'conformance' } });
});
afterAll(async () => {
  await registry?.close();
  await rm(folder, { recursive: true, force: true });
});

async function runSuite(name: string, settings: Record<string, string>) {
  const suite = await ensureTool('conformance', inject('toolchainDir'));
  const resultsDir = join(folder, name);
  const env = {
    OCI_REGISTRY: `${registry.host}:${registry.port}`,
    OCI_TLS: 'disabled',
    OCI_REPO1: `${name}/first`,
    OCI_REPO2: `${name}/second`,
    OCI_USERNAME: 'plumb',
    OCI_PASSWORD: 'conformance',
    OCI_VERSION: '1.1',
    OCI_RESULTS_DIR: resultsDir,
    ...settings,
  };
  // A failure exits with 1 and is told by the files, which say more.
  const said = await run(suite, { cwd: folder, env, timeout: 120_000, maxBuffer: 64 * 1024 * 1024 }).catch(
    (error: unknown) => ({ stdout: '', stderr: String(error) }),
  );
  // The suite's own file; a part that is missing fails the expectations.
  const results = parse(await readFile(join(resultsDir, 'results.yaml'), 'utf8')) as Results;
  const junit = await readFile(join(resultsDir, 'junit.xml'), 'utf8');
  return { results, counts: countsOf(junit), report: said.stderr };
}

/** The attributes of the root element that count tests; zero ones are left out there. */
function countsOf(junit: string): Record<string, number> {
  const [root = ''] = /<testsuites [^>]*>/.exec(junit) ?? [];
  const count = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(root)?.[1] ?? 0);
  const names = ['tests', 'failures', 'errors', 'skipped', 'disabled'];
  return Object.fromEntries(names.map((name) => [name, count(name)]));
}

function namesWith(statuses: Record<string, string>, status: (value: string) => boolean): string[] {
  return Object.keys(statuses)
    .filter((name) => status(statuses[name] ?? ''))
    .sort();
}

describe('the embedded registry', () => {
  it('passes the OCI conformance suite 1.1 with its defaults: nothing fails, nothing is skipped', async () => {
    const { results, counts, report } = await runSuite('defaults', {});
    expect(report).toBe('');
    // The suite ends well with nothing run when it does not know the version: the number of tests is part of the promise.
    expect(results.config.version).toBe('1.1');
    expect(counts).toEqual({ tests: 862, failures: 0, errors: 0, skipped: 0, disabled: 2 });
    const notPassed = (value: string) => value !== 'Pass';
    expect(namesWith(results.apis, notPassed)).toEqual(DISABLED_APIS);
    expect(namesWith(results.data, notPassed)).toEqual(DISABLED_DATA);
    expect(namesWith(results.apis, (value) => value === 'Pass')).toHaveLength(26);
    expect(namesWith(results.data, (value) => value === 'Pass')).toHaveLength(21);
  });

  it('passes what the suite leaves out by default and 1.1 describes: cancelled uploads and digest headers', async () => {
    const { results, counts, report } = await runSuite('optional', {
      OCI_API_BLOBS_UPLOAD_CANCEL: 'true',
      OCI_API_BLOBS_DIGEST_HEADER: 'true',
      OCI_API_MANIFESTS_DIGEST_HEADER: 'true',
    });
    expect(report).toBe('');
    expect(counts).toEqual({ tests: 862, failures: 0, errors: 0, skipped: 0, disabled: 0 });
    expect(results.apis['Blob upload cancel']).toBe('Pass');
  });
});
