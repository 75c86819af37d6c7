import { readdirSync, readFileSync } from 'node:fs';
import { sql } from 'kysely';
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { TestPlumbline } from '../harness/plumbline.ts';
import { startOnRealEngine } from './whole-path.ts';

const CONFIG = 'canary/of-the+"config"';
const CREDENTIAL = 'canary-of-the-credential';

const PROGRAM = `
import * as pulumi from '@pulumi/pulumi';

const config = new pulumi.Config();
const texts = [config.require('password'), process.env.CANARY_TOKEN ?? 'none'];
for (const text of texts) {
  console.log(text, JSON.stringify({ text }), encodeURIComponent(text));
  console.log(Buffer.from('user:' + text).toString('base64'), Buffer.from(text).toString('hex'));
  pulumi.log.warn('warned: ' + text);
}
// Neither is marked as a secret.
new pulumi.Stash('plain', { input: { text: 'x' + texts[0] + 'y', list: [texts[0]] } });
export const output = texts[0];
`;

let plumbline: TestPlumbline;
beforeEach(async () => void (plumbline = await startOnRealEngine({ config: { PLUMBLINE_LEASE_SECONDS: '30' } })));
afterEach(() => plumbline.close());

function found(text: string): string[] {
  const forms = [CONFIG, CREDENTIAL].flatMap((value) => [
    value,
    JSON.stringify(value).slice(1, -1),
    encodeURIComponent(value),
    Buffer.from(`user:${value}`).toString('base64').slice(8, -4),
    Buffer.from(value).toString('hex'),
  ]);
  return forms.filter((form) => text.includes(form));
}

async function everyRow(): Promise<string> {
  const { db } = plumbline.database;
  const { rows: tables } = await sql<{
    name: string;
  }>`select table_name as name from information_schema.tables where table_schema = 'public'`.execute(db);
  const texts: string[] = [];
  for (const { name } of tables) {
    const { rows } = await sql<{ text: string }>`select row_to_json(t)::text as text from ${sql.table(name)} t`.execute(
      db,
    );
    texts.push(...rows.map((row) => row.text));
  }
  return texts.join('\n');
}

/** Arguments of every process of the machine, as anybody on it may read them. */
function watchArguments(): () => string {
  const seen = new Set<string>();
  const timer = setInterval(() => {
    for (const name of readdirSync('/proc')) {
      if (!/^\d+$/.test(name)) continue;
      try {
        seen.add(readFileSync(`/proc/${name}/cmdline`, 'latin1'));
      } catch {
        // It ended meanwhile.
      }
    }
  }, 250);
  return () => {
    clearInterval(timer);
    return [...seen].join('\n');
  };
}

function files(fails: boolean): Record<string, string> {
  return {
    'Pulumi.yaml': 'name: shop\nruntime: {name: nodejs, options: {typescript: false}}\nmain: index.ts\n',
    'index.ts': fails ? `${PROGRAM}throw new Error('failed with ' + texts.join(' and '));` : PROGRAM,
    'package.json': '{"type":"module"}',
  };
}

it('in the log, the plan, the events, the rows or the arguments of a process', async () => {
  const argumentsSeen = watchArguments();
  await plumbline.secret('db', { password: CONFIG });
  await plumbline.secret('cloud', { CANARY_TOKEN: CREDENTIAL });
  await plumbline.stack('shop', {
    pulumi: { stack: 'prod', secrets: { password: { secret: 'db', key: 'password' } } },
    credentials: { plan: 'cloud', apply: 'cloud' },
    retry: { interval: '1s', max: 1 },
  });
  await plumbline.push(files(false));
  // On a busy machine a run may lose its lease and be made again.
  const { number } = await plumbline.untilRun('shop', ['awaiting_approval']);
  const { plan } = await plumbline.run('shop', number);
  expect(plan?.changes.length).toBeGreaterThan(0);
  await plumbline.push(files(true));
  const failed = await plumbline.untilRun('shop', ['errored'], number);
  expect(failed.message).toContain('failed with [secret]');
  const path = `/v1/tenants/${plumbline.tenant}/stacks/shop/runs/${number}/log`;
  const log = await fetch(`${plumbline.url}${path}`, { headers: { authorization: `Bearer ${plumbline.token}` } });
  const said = await log.text();
  expect(said).toContain('warned: [secret]');
  expect(found(`${CONFIG} ${CREDENTIAL}`)).not.toEqual([]);
  expect(found(said)).toEqual([]);
  expect(found(JSON.stringify([plan, failed, await plumbline.events('shop')]))).toEqual([]);
  expect(found(await everyRow())).toEqual([]);
  expect(found(plumbline.log.join('\n'))).toEqual([]);
  const seen = argumentsSeen();
  expect(seen).toContain('preview\0');
  expect(found(seen)).toEqual([]);
});
