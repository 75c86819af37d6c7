import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ReconcileError } from '../domain/errors.ts';
import { overridesFor } from '../domain/policy.ts';
import { newEventLog, recordEvent, type EngineEvent, type EventLog } from './events.ts';
import { OVERRIDES_VARIABLE } from './host/policy-overrides.ts';
import {
  PoliciesViolated,
  policyDirs,
  policyFailure,
  policyFolder,
  policyReport,
  preparePolicies,
  stoppedByPolicies,
  underPolicies,
} from './policies.ts';

const DIGEST = `sha256:${'a'.repeat(64)}`;
const scrubber = { scrub: (text: string) => text.replaceAll('hunter2', '[secret]') };

function pack(index: number, config = {}) {
  return { name: `pack-${index}`, dir: `/runs/1/policies/${index}-pack`, digest: DIGEST, config };
}
const context = { packs: [pack(0)], scrub: scrubber.scrub };

const violation = (level: string, message = 'no', urn = 'urn:1'): EngineEvent => ({
  policyEvent: { resourceUrn: urn, message, policyName: 'p', policyPackName: 'base', enforcementLevel: level },
});

/** The events of a phase in which packs ran; `finished` looked at the whole stack. */
function events(names: string[], said: EngineEvent[] = [], finished: string[] = names): EngineEvent[] {
  const ran = names.map((name, index) => [`${name}|local|/runs/.../policies/${index}-pack`, '1.0.0'] as const);
  return [
    ...names.map(() => ({ policyLoadEvent: {} })),
    { preludeEvent: {} },
    ...said,
    ...finished.map((policyPackName) => ({ policyAnalyzeStackSummaryEvent: { policyPackName } })),
    { summaryEvent: { resourceChanges: {}, PolicyPacks: Object.fromEntries(ran) } },
    { cancelEvent: {} },
  ];
}

function logOf(all: EngineEvent[]): EventLog {
  const log = newEventLog();
  for (const event of all) recordEvent(log, event);
  return log;
}

function report(all: EngineEvent[], packs = context.packs) {
  const log = logOf(all);
  const [phase] = log.phases;
  if (phase === undefined) throw new Error('no phase');
  return policyReport(log, phase, { ...context, packs });
}

describe('what packs said', () => {
  it('is in an order of its own, without colours and secrets', () => {
    const said = [violation('mandatory', '<{%fg 1%}>b hunter2<{%reset%}>\n'), violation('advisory', 'a')];
    expect(report(events(['base'], said))).toEqual({
      packs: [{ name: 'base', version: '1.0.0', digest: DIGEST }],
      violations: [
        { pack: 'base', policy: 'p', level: 'advisory', urn: 'urn:1', message: 'a' },
        { pack: 'base', policy: 'p', level: 'mandatory', urn: 'urn:1', message: 'b [secret]' },
      ],
      remediations: [],
    });
  });

  it('counts as mandatory when its level is a word nobody knows', () => {
    expect(report(events(['base'], [violation('deadly')])).violations[0]?.level).toBe('mandatory');
  });

  it.each<[string, EngineEvent[], ReturnType<typeof pack>[], string]>([
    ['did not load', events([]), [pack(0)], 'pack-0 did not load'],
    ['is one of two', events(['base']), [pack(0), pack(1)], 'pack-0 did not load'],
    ['was cut off', events(['base'], [], []), [pack(0)], 'pack-0 did not look at the whole stack'],
    ['has the name of another', events(['base', 'base']), [pack(0), pack(1)], 'pack-1 calls itself base'],
  ])('is never taken for nothing when a pack %s', (_what, all, packs, text) => {
    expect(() => report(all, packs)).toThrow(text);
  });

  it('is not taken when there is more than anybody reads', () => {
    const many = Array.from({ length: 2_001 }, () => violation('advisory'));
    expect(() => report(events(['base'], many))).toThrow('more than 2000 things');
  });
});

describe('a failed process', () => {
  const failed = new ReconcileError({ kind: 'transient', reason: 'PreviewFailed', message: `at "${pack(0).dir}": no` });
  const error = { diagnosticEvent: { message: 'the cloud is down', severity: 'error' } };
  const bail = { diagnosticEvent: { message: 'error: preview failed', severity: 'error' } };

  it('was stopped by policies when they alone complained, and has every violation', () => {
    const found = policyFailure(logOf(events(['base'], [violation('mandatory'), bail])), context, failed);
    expect(found).toBeInstanceOf(PoliciesViolated);
    expect(found).toMatchObject({ reason: 'PolicyViolated', report: { violations: [{ level: 'mandatory' }] } });
  });

  it.each<[string, EngineEvent[]]>([
    ['something else failed too', events(['base'], [violation('mandatory'), error])],
    ['policies only advised', events(['base'], [violation('advisory')])],
    ['its events were cut', events(['base'], [violation('mandatory')]).slice(0, -1)],
    ['it never began', []],
  ])('is what it was when %s, with the name of the pack', (_what, all) => {
    expect(policyFailure(logOf(all), context, failed)).toMatchObject({
      reason: 'PreviewFailed',
      message: 'at pack-0: no',
    });
  });

  it('is stale before the first change of an apply, and stopped midway after it', () => {
    const phase = events(['base'], [violation('mandatory')]);
    const first = logOf(phase);
    const violated = policyFailure(first, context, failed);
    expect(stoppedByPolicies(first, violated)).toMatchObject({ kind: 'transient', reason: 'PlanStale' });
    const second = logOf([...phase, ...phase.slice(1)]);
    expect(stoppedByPolicies(second, violated)).toMatchObject({ kind: 'stalled', reason: 'PolicyViolated' });
    expect(stoppedByPolicies(second, failed)).toBe(failed);
  });
});

describe('a run under packs', () => {
  let runDir: string;
  beforeEach(async () => void (runDir = await mkdtemp(join(tmpdir(), 'policies-'))));
  afterEach(() => rm(runDir, { recursive: true, force: true }));

  it('is told settings and overrides by files the sandbox shows read-only', async () => {
    const request = { runDir, policyPacks: [pack(0, { p: 'advisory' }), pack(1)] };
    const { options, environment } = await preparePolicies(request, scrubber, ['base/p urn:1']);
    expect(policyDirs(request)).toContain(policyFolder(runDir));
    expect(options.policyPacks).toEqual([pack(0).dir, pack(1).dir]);
    const files = await Promise.all((options.policyPackConfigs ?? []).map((file) => readFile(file, 'utf8')));
    expect(files.map((text): unknown => JSON.parse(text))).toEqual([{ p: 'advisory' }, {}]);
    expect(JSON.parse(await readFile(environment[OVERRIDES_VARIABLE] ?? '', 'utf8'))).toEqual(['base/p urn:1']);
  });

  it('is told nothing without packs', async () => {
    expect(await preparePolicies({ runDir }, scrubber, [])).toMatchObject({ options: {}, environment: {} });
    expect(policyDirs({ runDir })).toEqual([]);
  });

  it('previews once more with exactly the violations as advice, and shows them as they were', async () => {
    const request = { runDir, policyPacks: [pack(0)] };
    const violated = report(events(['base'], [violation('mandatory')]));
    const told: string[][] = [];
    const planned = await underPolicies(request, scrubber, async ({ environment }) => {
      const keys: string[] = JSON.parse(await readFile(environment[OVERRIDES_VARIABLE] ?? '', 'utf8'));
      told.push(keys);
      if (keys.length === 0) throw new PoliciesViolated(violated);
      return { policies: report(events(['base'], [violation('advisory')])) };
    });
    expect(told).toEqual([[], ['base/p urn:1']]);
    expect(planned.policies).toEqual(violated);
    expect(overridesFor(planned.policies)).toEqual(['base/p urn:1']);
  });

  it('is given up when packs say something else the second time', async () => {
    const violated = new PoliciesViolated(report(events(['base'], [violation('mandatory')])));
    const preview = () => Promise.reject(violated);
    await expect(underPolicies({ runDir, policyPacks: [pack(0)] }, scrubber, preview)).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'PolicyPackFailed',
    });
  });
});
