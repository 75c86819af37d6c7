import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { text } from 'node:stream/consumers';
import { afterEach, expect, it } from 'vitest';
import { startTestPlumbline, type TestPlumbline } from '../harness/plumbline.ts';
import { runLog } from '../../workers/log.ts';

const PLUMB = join(import.meta.dirname, '../../cli/plumb.ts');

let plumbline: TestPlumbline;
afterEach(() => plumbline.close());

/** A run whose apply waits for the test, and its log as the worker writes it. */
async function applying(config: Record<string, string> = {}) {
  plumbline = await startTestPlumbline({ config });
  const { promise, resolve } = Promise.withResolvers<void>();
  plumbline.engine.hooks.apply = () => promise;
  await plumbline.stack('shop', { approval: { mode: 'auto' } });
  await plumbline.push({ resources: { web: { size: 1 } } });
  const { number } = await plumbline.untilRun('shop', ['applying']);
  const row = await plumbline.database.db
    .selectFrom('runs')
    .selectAll()
    .where('number', '=', number)
    .executeTakeFirstOrThrow();
  return { number, log: runLog(plumbline.deps, row), finish: resolve };
}

function followed(number: number, headers: Record<string, string> = {}, signal = AbortSignal.timeout(30_000)) {
  const url = `${plumbline.url}/v1/tenants/${plumbline.tenant}/stacks/shop/runs/${number}/log?follow=true`;
  return fetch(url, { headers: { authorization: `Bearer ${plumbline.token}`, ...headers }, signal });
}

it('a piece is there within a second, the stream ends with the run, and one that was cut is taken up where it was', async () => {
  const { number, log, finish } = await applying();
  const response = await followed(number);
  expect(response.headers.get('content-type')).toContain('text/event-stream');
  const latencies: number[] = [];
  let written = 0;
  let all = '';
  const send = (line: string) => {
    written = performance.now();
    log.write(line);
  };
  send('line 1\n');
  for await (const chunk of response.body?.pipeThrough(new TextDecoderStream()) ?? []) {
    all += chunk;
    const seen = [...chunk.matchAll(/line (\d)/g)].at(-1)?.[1];
    if (seen === undefined) continue;
    latencies.push(performance.now() - written);
    if (Number(seen) < 4) send(`line ${Number(seen) + 1}\n`);
    else {
      await log.close();
      finish();
    }
  }
  expect(latencies).toHaveLength(4);
  // 0.9 s by design; the rest is a machine that does much else.
  expect(latencies.toSorted((a, b) => a - b)[1]).toBeLessThan(1_500);
  expect(all).toMatch(/event: end\ndata: {"state":"applied"}\n\n$/);
  const second = [...all.matchAll(/id: (\d+)/g)][1]?.[1] ?? '';
  const again = await (await followed(number, { 'last-event-id': second })).text();
  expect(again).not.toContain('line 2');
  expect(again).toContain('line 3');
});

it('plumb logs -f prints what comes until the run is over', async () => {
  const { log, finish } = await applying();
  const child = spawn(process.execPath, [PLUMB, 'logs', 'shop', '-f'], {
    env: { PLUMBLINE_URL: plumbline.url, PLUMBLINE_TOKEN: plumbline.token, PLUMBLINE_TENANT: plumbline.tenant },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  const printed = text(child.stdout);
  const said = text(child.stderr);
  log.write('hello \u001b[31mred\n');
  await log.close();
  await delay(1_500);
  finish();
  const [code] = await once(child, 'exit');
  expect(code).toBe(0);
  expect(await printed).toContain('hello \\u{1b}[31mred\n');
  expect(await said).toContain('the run is applied');
});

it('of an output of 100 MB the limit is kept, the rest is said to be dropped, and the worker never waits', async () => {
  const { number, log, finish } = await applying({ PLUMBLINE_MAX_OUTPUT_KB: '64' });
  const left = new AbortController();
  const response = await followed(number, {}, left.signal);
  const line = `${'x'.repeat(16 * 1024 - 1)}\n`;
  const started = performance.now();
  for (let piece = 0; piece < 6_400; piece += 1) log.write(line);
  expect(performance.now() - started).toBeLessThan(2_000);
  await log.close();
  // A follower that goes away harms nobody.
  await response.body?.getReader().read();
  left.abort();
  finish();
  await plumbline.untilRun('shop', ['applied']);
  const whole = await (
    await fetch(`${plumbline.url}/v1/tenants/${plumbline.tenant}/stacks/shop/runs/${number}/log`, {
      headers: { authorization: `Bearer ${plumbline.token}` },
    })
  ).text();
  expect(whole.length).toBeLessThan(66 * 1024);
  expect(whole).toContain('[output over 65536 bytes is dropped]');
});

it('another tenant follows nothing, and a service that stops ends the streams', async () => {
  const { number, finish } = await applying();
  const url = `/v1/tenants/other/stacks/shop/runs/${number}/log?follow=true`;
  expect((await plumbline.api('GET', url)).status).toBe(404);
  const response = await followed(number);
  const ended = response.text();
  const { close } = plumbline;
  plumbline.close = async () => undefined;
  finish();
  await close();
  expect(await ended).toContain(': following');
});
