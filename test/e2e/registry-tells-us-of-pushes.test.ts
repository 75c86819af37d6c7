import { randomBytes } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { ApplyResultView } from '#core/domain/view.ts';
import { receiver, secret, stack, startTestService, tenant, type TestService } from '../harness/service.ts';
import { serveDistribution, type Served } from './registries.ts';
import { command, findProgram } from './tools.ts';

const START_MS = 600_000;
const WAIT_MS = 10_000;
/** Others would be looked at by then as well. */
const QUIET_MS = 200;
const SECRET = 'correct horse battery';
const REGISTRIES = [
  ['distribution 3', await findProgram('registry-distribution')],
  ["Debian's docker-registry 2.8", await findProgram('docker-registry')],
] as const;
const oras = await findProgram('oras');

for (const [name, program] of REGISTRIES) {
  describe.skipIf(program === undefined || oras === undefined)(`a push to ${name}`, () => {
    let service: TestService;
    let served: Served;
    let stranger: Served;
    let work: string;

    beforeAll(async () => {
      service = await startTestService();
      const manifests = [tenant('shop'), secret('shop', 'hook', { token: SECRET })];
      const ref = { secret: 'hook', key: 'token' };
      const applied = await service.apply(...manifests, receiver('shop', 'registry', 'distribution', ref));
      const hook = applied.as(ApplyResultView).results.find((result) => result.kind === 'Receiver')?.hook ?? '';
      const url = `${await service.app.listen({ port: 0, host: '127.0.0.1' })}${hook}`;
      served = await serveDistribution(program ?? '', { notified: { url, authorization: `Bearer ${SECRET}` } });
      stranger = await serveDistribution(program ?? '', { notified: { url, authorization: 'Bearer a guess' } });
      const sourceOf = (host: string, of: string) => ({ source: { repository: `oci://${host}/infra/${of}`, ref: {} } });
      await service.apply(
        stack('shop', 'web', sourceOf(served.host, 'web')),
        stack('shop', 'other', sourceOf(served.host, 'other')),
        stack('shop', 'strange', sourceOf(stranger.host, 'strange')),
      );
      work = await mkdtemp(join(tmpdir(), 'plumbline-notified-'));
    }, START_MS);
    beforeEach(() => {
      service.rings.length = 0;
    });
    afterAll(async () => {
      await served?.close();
      await stranger?.close();
      await service?.close();
      await rm(work, { recursive: true, force: true });
    });

    async function push(host: string, of: string, ...more: string[]): Promise<void> {
      await writeFile(join(work, 'Pulumi.yaml'), `name: ${randomBytes(8).toString('hex')}\n`);
      await command(oras ?? '', ['push', '--plain-http', `${host}/infra/${of}`, 'Pulumi.yaml', ...more], { cwd: work });
    }

    /** How many hooks came to this. */
    async function counted(outcome: string): Promise<number> {
      const { text } = await service.call('GET', '/metrics', service.admin);
      const line = text.split('\n').find((each) => each.includes(`outcome="${outcome}"`)) ?? '0';
      return Number(line.split(' ').at(-1));
    }

    async function until(what: string, holds: () => Promise<boolean> | boolean): Promise<void> {
      const end = performance.now() + WAIT_MS;
      while (!(await holds())) {
        if (performance.now() > end) throw new Error(`${what} did not come within ${WAIT_MS} ms`);
        await delay(20);
      }
    }

    /** Names of the stacks that are looked at. */
    async function looks(): Promise<string[]> {
      await until('a look', () => service.rings.length > 0);
      await delay(QUIET_MS);
      const ids = [...new Set(service.rings.map(({ stackId }) => stackId))];
      const rows = await service.db.selectFrom('stacks').select(['id', 'name']).execute();
      return ids.map((id) => rows.find((row) => row.id === id)?.name ?? id);
    }

    it('under a tag has the stacks that follow the repository looked at, and no others', async () => {
      await push(served.host, 'web:prod');
      expect(await looks()).toEqual(['web']);
    });

    it('of the layers alone is no news', async () => {
      const before = await counted('ignored');
      await writeFile(join(work, 'layer'), randomBytes(100));
      const args = ['blob', 'push', '--plain-http', `${served.host}/infra/web`, 'layer'];
      await command(oras ?? '', args, { cwd: work });
      await until('the notification of a layer', async () => (await counted('ignored')) > before);
      expect(service.rings).toEqual([]);
    });

    it('of something attached has them look again, for it may be the signature that is waited for', async () => {
      await push(served.host, 'web:signed');
      await looks();
      service.rings.length = 0;
      await writeFile(join(work, 'signature'), randomBytes(100));
      const type = '--artifact-type=application/vnd.test.signature';
      const args = ['attach', '--plain-http', type, `${served.host}/infra/web:signed`, 'signature'];
      await command(oras ?? '', args, { cwd: work });
      expect(await looks()).toEqual(['web']);
    });

    it('told by somebody who does not know the secret changes nothing', async () => {
      await push(stranger.host, 'strange:prod');
      await until('the hook of a stranger', async () => (await counted('forged')) > 0);
      expect(service.rings).toEqual([]);
    });
  });
}
