import type { Parts } from '../scripts/demo/processes.ts';
import type { Bare } from './bare.ts';
import { measureLoad } from './load.ts';
import type { Plumbline } from './plumbline.ts';
import type { Revisions } from './revisions.ts';
import type { Compared } from './statistics.ts';

/** What is measured, and with what. */
export interface Bench {
  parts: Parts;
  plumbline: Plumbline;
  bare: Bare;
  revisions: Revisions;
  signal: AbortSignal;
  say(text: string): void;
}

/** Looks without news are short: so many of them for each run of the rest. */
const LOOKS_PER_RUN = 4;

/** No-change reconcile ÷ `oras resolve`, in turn. */
export async function measureLooks(bench: Bench, runs: number): Promise<Compared[]> {
  const [ours, peer]: [number[], number[]] = [[], []];
  for (let index = 0; index < runs * LOOKS_PER_RUN; index += 1) {
    ours.push(await bench.plumbline.look(bench.signal));
    peer.push(await bench.bare.resolve(bench.signal));
  }
  const note = 'hook to status in the API, one HEAD';
  return [{ key: 'noChangeReconcile', name: 'no-change reconcile ÷ oras resolve', ours, peer, figure: 'median', note }];
}

/** Reconcile of a new revision up to the plan ÷ the bare script, in turn, on the same artifact. */
export async function measureReconcile(bench: Bench, runs: number): Promise<Compared[]> {
  const [ours, script, noInstall]: [number[], number[], number[]] = [[], [], []];
  for (let index = 0; index < runs; index += 1) {
    const revision = await bench.revisions.next(bench.signal);
    const ms = await bench.plumbline.plan(revision, 20, bench.signal);
    const { pull, install, preview } = await bench.bare.preview(bench.signal);
    ours.push(ms);
    script.push(pull + install + preview);
    noInstall.push(pull + preview);
    const peer = `pull ${pull.toFixed(0)} + npm ci ${install.toFixed(0)} + preview ${preview.toFixed(0)} ms`;
    bench.say(`revision ${index + 1} of ${runs}: ${ms.toFixed(0)} ms : ${peer}`);
  }
  const name = 'new revision up to the plan ÷ ';
  return [
    {
      key: 'reconcileToPlan',
      name: `${name}oras pull, npm ci, pulumi preview`,
      ours,
      peer: script,
      figure: 'median',
      note: 'Plumbline installed the same lock file before',
    },
    {
      key: 'reconcileToPlanWithoutNpmCi',
      name: `${name}oras pull, pulumi preview`,
      ours,
      peer: noInstall,
      figure: 'median',
      note: 'the same runs, the script without its npm ci',
    },
  ];
}

const PER_SECOND = 200;
const HOOK_SECONDS = 30;
/** On each side of the hooks, so that a machine that gets busier or calmer is seen by both. */
const HEALTH_SECONDS = 15;

/** Plans one revision after the other until `stop`; counts those it began. */
function keepPlanning(bench: Bench, stop: AbortSignal): { begun(): number; ended: Promise<void> } {
  let begun = 0;
  const work = async () => {
    while (!stop.aborted) {
      const revision = await bench.revisions.next(bench.signal);
      begun += 1;
      await bench.plumbline.plan(revision, 200, bench.signal);
    }
  };
  return { begun: () => begun, ended: work() };
}

/** p99 of the hook at 200 requests a second for 30 s ÷ p99 of `GET /healthz` at the same rate, runs going all the time. */
export async function measureHooks(bench: Bench): Promise<Compared[]> {
  const { hook } = bench.plumbline;
  const stop = new AbortController();
  const signal = AbortSignal.any([bench.signal, stop.signal]);
  const planning = keepPlanning(bench, signal);
  // A run that fails ends the load, too.
  planning.ended.catch((error: unknown) => stop.abort(error));
  const common = { origin: bench.parts.api.url, perSecond: PER_SECOND, signal };
  const health = () =>
    measureLoad({
      ...common,
      seconds: HEALTH_SECONDS,
      expected: 200,
      request: () => ({ path: '/healthz', method: 'GET' }),
    });
  const request = () => ({ path: hook.path, method: 'POST' as const, headers: hook.headers, body: hook.body() });
  try {
    const before = await health();
    const already = planning.begun();
    const hooks = await measureLoad({ ...common, seconds: HOOK_SECONDS, expected: 202, request });
    const runs = planning.begun() - already + 1;
    const after = await health();
    const late = hooks.late > 0 ? `; ${hooks.late} hooks were not answered in time: the ratio is a lower bound` : '';
    const note = `${PER_SECOND}/s for ${HOOK_SECONDS} s, each hook asks for a look, ${runs} runs meanwhile${late}`;
    const peer = [...before.times, ...after.times];
    return [{ key: 'webhookP99', name: 'webhook answer ÷ GET /healthz', ours: hooks.times, peer, figure: 'p99', note }];
  } finally {
    stop.abort(new Error('the measurement is over'));
    await planning.ended;
  }
}
