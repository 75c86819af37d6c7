import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { StackView } from '#core/domain/view.ts';

const AT = '2026-01-01T00:00:00.000Z';
const CHECKPOINT = `sha256:${'a'.repeat(64)}`;

const STACK: StackView = {
  tenant: 'default',
  name: 'shop',
  labels: {},
  generation: 1,
  specBy: 'me',
  spec: { source: { repository: 'oci://a.example/shop', ref: { tag: 'main' } }, pulumi: { stack: 'dev' } },
  status: {
    conditions: [],
    observedGeneration: 1,
    resolved: null,
    applied: null,
    verification: null,
    identity: null,
    failures: 0,
    nextReconcileAt: null,
    nextDriftAt: null,
    pendingOperations: 0,
    reconcileRequested: true,
    driftRequested: false,
  },
  liveRun: null,
  why: 'stalled (StateMovedOutside): look at it',
  createdAt: AT,
  updatedAt: AT,
};

const server = createServer((_request, response) => response.end(JSON.stringify(STACK)));
beforeAll(async () => void (await once(server.listen(0, '127.0.0.1'), 'listening')));
afterAll(() => void server.close());

it.each([
  ['destroy', [], 'a destroy is asked for; see `plumb diff shop`, then approve it'],
  ['rebind', [], 'the move is asked for; see `plumb diff shop`, then approve it'],
  ['accept-state', ['--checkpoint', CHECKPOINT], `you answer for ${CHECKPOINT}, and for no other state`],
])(
  '%s says what was asked before what the stack does now',
  async (word, flags, noted) => {
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const env = { PATH: '/usr/bin', PLUMBLINE_TOKEN: 'plumb_x', PLUMBLINE_URL: `http://127.0.0.1:${port}` };
    const bin = join(import.meta.dirname, 'plumb.mjs');
    const { stdout } = await promisify(execFile)(process.execPath, [bin, word, 'shop', ...flags], { env });
    expect(stdout.startsWith(`shop: ${noted}`)).toBe(true);
    expect(stdout).toContain('\nnow: stalled (StateMovedOutside)');
  },
  30_000,
);
