import { randomUUID } from 'node:crypto';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { stalled, transient } from '#core/domain/errors.ts';
import { canonicalJson, digestOf, type ResourceChange } from '#core/domain/plan.ts';
import { pendingChanges } from '#core/engine/drift.ts';
import { planFileHash } from '#core/engine/plan-file.ts';
import type {
  ApplyRequest,
  Checkpoint,
  DestroyRequest,
  DriftItem,
  Engine,
  EngineRequest,
  ExecRequest,
  StateProvider,
} from '#core/engine/port.ts';
import type { PendingAnswer, PendingOperation } from '#core/store/schema.ts';
import { fakeReport, stopAtViolations } from './fake-policies.ts';

type Properties = Record<string, unknown>;
type Resources = Record<string, Properties>;

/** What a fake program says: its resources, and how it misbehaves. */
export interface FakeProgram {
  resources: Resources;
  throws?: string;
  /** The apply fails after it made this resource. */
  failsAfter?: string;
  /** Prints its configuration, secrets included, and fails with it in the message. */
  leaks?: boolean;
  /** Prints every secret it is given in many forms, and puts each into a property that is not marked as one. */
  spills?: boolean;
}

/** Where a test may step in: it runs before the operation does anything. */
export interface FakeHooks {
  preview?: ((signal: AbortSignal) => Promise<void>) | undefined;
  /** Before the gate, when the engine would hold its lock. */
  gate?: (() => Promise<void>) | undefined;
  /** After the gate, before the first change. */
  apply?: ((signal: AbortSignal) => Promise<void>) | undefined;
  drift?: () => Promise<void>;
  /** In place of a command by hand; what it ends with. */
  exec?: ((exec: ExecRequest, request: EngineRequest) => Promise<number>) | undefined;
  /** Before the provider of the state's secrets answers. */
  encryptConfig?: () => Promise<void>;
}

/** An engine for fast scenarios: a state and a world per stack, both plain data a test may change. */
export interface FakeEngine extends Engine {
  hooks: FakeHooks;
  state: Map<string, Resources>;
  world: Map<string, Resources>;
  /** Resources of these types bring their own code, as dynamic ones do; by name. */
  dynamic: Set<string>;
  /** Names of protected resources. */
  protected: Set<string>;
  /** Operations a cut-off apply left in the state. */
  pending: Map<string, PendingOperation[]>;
  /** State and world of the only stack there is. */
  only(): { state: Resources; world: Resources };
  /** Every change made to the world, in order: what a provider's log would say. */
  log: string[];
  calls: { encryptConfig: number; preview: number; apply: number; drift: number; refresh: number; destroy: number };
  /** What the state says its secrets are encrypted with. */
  encryptedWith: StateProvider | undefined;
}

function key(request: EngineRequest): string {
  return canonicalJson(request.identity);
}

function urn(request: EngineRequest, name: string): string {
  const { stack, project } = request.identity;
  return `urn:pulumi:${stack}::${project}::fake:index:Thing::${name}`;
}

function spill({ resources }: FakeProgram, request: EngineRequest): FakeProgram {
  const config = Object.values(request.config).map(({ value }) => String(value));
  const given = [...config, ...Object.values(request.environment), request.passphrase].filter((text) => text !== '');
  for (const text of given) {
    const json = JSON.stringify({ a: text });
    const base64 = Buffer.from(`user:${text}`).toString('base64');
    const forms = [
      text,
      json,
      JSON.stringify(json),
      encodeURIComponent(text),
      base64,
      Buffer.from(text).toString('hex'),
    ];
    request.onOutput(`${forms.join('\n')}\n`);
  }
  // Not the credentials: those of an apply are others, and the plan would be violated.
  const properties = Object.fromEntries(
    [...config, request.passphrase].map((text, index) => [`p${index}`, `x${text}y`]),
  );
  return { resources: { ...resources, spilled: { ...properties, deep: [{ [config[0] ?? '']: config }] } } };
}

async function readProgram(request: EngineRequest): Promise<FakeProgram> {
  const program: FakeProgram = JSON.parse(await readFile(join(request.programDir, 'program.json'), 'utf8'));
  if (program.leaks === true) {
    const text = JSON.stringify([request.config, request.environment]);
    request.onOutput(text);
    throw transient('PreviewFailed', `the program failed: ${text}`);
  }
  if (program.spills === true) return spill(program, request);
  if (program.throws !== undefined) throw transient('PreviewFailed', `the program failed: ${program.throws}`);
  return program;
}

function diffOf(before: Properties, after: Properties) {
  const paths = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  return paths
    .filter((path) => canonicalJson(before[path] ?? null) !== canonicalJson(after[path] ?? null))
    .map((path) => ({
      path,
      kind: 'update' as const,
      replaces: path === 'zone',
      before: before[path],
      after: after[path],
    }));
}

/** Another `zone` replaces a resource; everything else is changed in place. */
function opOf(diffs: readonly { replaces: boolean }[]): string {
  if (diffs.length === 0) return 'same';
  return diffs.some((diff) => diff.replaces) ? 'replace' : 'update';
}

function changesBetween(request: EngineRequest, state: Resources, wanted: Resources): ResourceChange[] {
  const names = [...new Set([...Object.keys(state), ...Object.keys(wanted)])].sort();
  return names.flatMap((name) => {
    const address = urn(request, name);
    if (request.targets.length > 0 && !request.targets.includes(address)) return [];
    const before = state[name];
    const after = wanted[name];
    const diffs = before && after ? diffOf(before, after) : [];
    const op = before === undefined ? 'create' : after === undefined ? 'delete' : opOf(diffs);
    const base = { urn: address, type: 'fake:index:Thing', name, op, diffs };
    return [{ ...base, lostProtection: false, isProvider: false, unknowns: [] }];
  });
}

function summaryOf(changes: readonly ResourceChange[]): Record<string, number> {
  const summary: Record<string, number> = {};
  for (const change of changes) summary[change.op] = (summary[change.op] ?? 0) + 1;
  return summary;
}

/** Makes a fake engine with empty worlds. */
export function createFakeEngine(): FakeEngine {
  const fake: FakeEngine = {
    hooks: {},
    state: new Map(),
    world: new Map(),
    dynamic: new Set(),
    protected: new Set(),
    pending: new Map(),
    only() {
      const [[stack, state] = [], ...more] = fake.state;
      if (stack === undefined || state === undefined || more.length > 0)
        throw new Error(`${fake.state.size} stacks have a state`);
      return { state, world: fake.world.get(stack) ?? {} };
    },
    log: [],
    encryptedWith: undefined,
    calls: { encryptConfig: 0, preview: 0, apply: 0, drift: 0, refresh: 0, destroy: 0 },
    versions: async () => ({ engine: 'fake' }),
    checkpoint: async (request) => {
      request.signal.throwIfAborted();
      return checkpointOf(request);
    },
    exec: (request, exec) =>
      guarded(request, async () => {
        const code = (await fake.hooks.exec?.(exec, request)) ?? 0;
        const state = exec.command[1] === 'export' ? JSON.stringify(fake.state.get(key(request)) ?? {}) : undefined;
        return { code, state };
      }),
    releaseOwnLock: async () => undefined,
    stateProvider: async () => fake.encryptedWith,
    encryptConfig: async ({ settings }, values) => {
      fake.calls.encryptConfig += 1;
      if (fake.hooks.encryptConfig !== undefined) await fake.hooks.encryptConfig();
      const ciphertexts = Object.fromEntries(
        Object.entries(values).map(([name, text]) => [name, `v1:fake:${digestOf({ text, salt: randomUUID() })}`]),
      );
      return { encryptedKey: settings.encryptedKey ?? `key-of-${settings.provider}`, ciphertexts };
    },
    preview: (request) =>
      guarded(request, async () => {
        fake.calls.preview += 1;
        await fake.hooks.preview?.(request.signal);
        const { resources } = await readProgram(request);
        const changes = changesBetween(request, fake.state.get(key(request)) ?? {}, resources);
        const plan = Buffer.from(canonicalJson({ manifest: {}, resourcePlans: resources }));
        const policies = await fakeReport(request, resources, (name) => urn(request, name));
        return { changes, summary: summaryOf(changes), plan, planHash: planFileHash(plan), unknowns: [], policies };
      }),
    apply: (request) => guarded(request, () => apply(request)),
    previewDestroy: (request) =>
      guarded(request, async () => {
        const names = Object.keys(fake.state.get(key(request)) ?? {});
        const held = names.filter((name) => fake.protected.has(name));
        if (held.length > 0) throw stalled('ResourceProtected', `protected: ${held.join(', ')}`);
        const urns = names.map((name) => urn(request, name));
        const changes = changesBetween({ ...request, targets: urns }, fake.state.get(key(request)) ?? {}, {});
        return { changes, summary: summaryOf(changes), urns, retained: [] };
      }),
    destroy: (request) => guarded(request, () => destroy(request)),
    drift: (request) =>
      guarded(request, async () => {
        fake.calls.drift += 1;
        await fake.hooks.drift?.();
        const state = fake.state.get(key(request)) ?? {};
        const { resources } = await readProgram(request);
        const planned = changesBetween(request, state, resources).filter((change) => change.op !== 'same');
        const items = [...driftItems(request, state), ...pendingChanges(planned)];
        return { items, resources: Object.keys(state).length };
      }),
    refresh: (request, answers) =>
      guarded(request, async () => {
        fake.calls.refresh += 1;
        answerPending(request, answers);
        const state = fake.state.get(key(request)) ?? {};
        const world = fake.world.get(key(request)) ?? {};
        for (const name of Object.keys(state)) {
          const real = world[name];
          const wanted = request.targets.length === 0 || request.targets.includes(urn(request, name));
          if (wanted && real !== undefined) state[name] = structuredClone(real);
          if (wanted && real === undefined) delete state[name];
        }
        return checkpointOf(request);
      }),
  };

  async function guarded<T>(request: EngineRequest, act: () => Promise<T>): Promise<T> {
    await request.guard.started(undefined);
    try {
      return await act();
    } finally {
      await request.guard.ended();
    }
  }

  function checkpointOf(request: EngineRequest): Checkpoint {
    const state = fake.state.get(key(request));
    const names = Object.keys(state ?? {});
    const resources = names.length;
    return {
      dynamic: names.filter((name) => fake.dynamic.has(name)).length,
      hash: state === undefined || resources === 0 ? 'absent' : digestOf(state),
      resources,
      pendingOperations: fake.pending.get(key(request)) ?? [],
    };
  }

  function answerPending(request: EngineRequest, answers: readonly PendingAnswer[]): void {
    const left = (fake.pending.get(key(request)) ?? []).filter(
      ({ urn: open }) => !answers.some((answer) => answer.urn === open),
    );
    fake.pending.set(key(request), left);
    for (const answer of answers) {
      const name = answer.urn.split('::').at(-1) ?? '';
      const state = fake.state.get(key(request));
      if (answer.answer === 'import' && state !== undefined) state[name] = { ...fake.world.get(key(request))?.[name] };
    }
  }

  function driftItems(request: EngineRequest, state: Resources): DriftItem[] {
    const world = fake.world.get(key(request)) ?? {};
    return Object.entries(state).flatMap(([name, properties]): DriftItem[] => {
      const address = { urn: urn(request, name), type: 'fake:index:Thing' };
      const real = world[name];
      if (real === undefined) return [{ ...address, path: '', kind: 'missing' }];
      return diffOf(properties, real).map(({ path, before, after }) => ({
        ...address,
        path,
        kind: 'changed',
        before,
        after,
      }));
    });
  }

  async function apply(request: ApplyRequest) {
    fake.calls.apply += 1;
    await fake.hooks.gate?.();
    const found = await request.gate();
    if (found.length > 0) throw stalled('PlanStale', found.join('; '));
    await fake.hooks.apply?.(request.signal);
    const { resources, failsAfter } = await readProgram(request);
    stopAtViolations(request, await fakeReport(request, resources, (name) => urn(request, name)));
    const plan: { resourcePlans: Resources } = JSON.parse(request.plan.toString());
    if (canonicalJson(plan.resourcePlans) !== canonicalJson(resources)) throw transient('PlanStale', 'violates plan');
    const state = fake.state.get(key(request)) ?? {};
    const changes = changesBetween(request, state, resources);
    const world = fake.world.get(key(request)) ?? {};
    for (const { op, name } of changes) {
      if (op === 'same') continue;
      fake.state.set(key(request), state);
      fake.world.set(key(request), world);
      fake.log.push(`${op} ${name}`);
      const wanted = resources[name];
      if (wanted === undefined) {
        delete state[name];
        delete world[name];
        continue;
      }
      state[name] = structuredClone(wanted);
      world[name] = structuredClone(wanted);
      if (name === failsAfter) throw transient('ApplyFailed', `the provider failed after ${name}`);
    }
    fake.state.set(key(request), state);
    fake.world.set(key(request), world);
    return { summary: summaryOf(changes), checkpoint: checkpointOf(request) };
  }

  async function destroy(request: DestroyRequest) {
    fake.calls.destroy += 1;
    await fake.hooks.gate?.();
    const found = await request.gate();
    if (found.length > 0) throw stalled('PlanStale', found.join('; '));
    const state = fake.state.get(key(request)) ?? {};
    const world = fake.world.get(key(request)) ?? {};
    const changes = changesBetween(request, state, {});
    for (const { name } of changes) {
      await fake.hooks.apply?.(request.signal);
      fake.log.push(`delete ${name}`);
      delete state[name];
      delete world[name];
    }
    return { summary: summaryOf(changes), checkpoint: checkpointOf(request) };
  }

  return fake;
}
