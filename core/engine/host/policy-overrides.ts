import { readFileSync } from 'node:fs';

/** Name of the variable that holds the path of the list of violations a person overrode. */
export const OVERRIDES_VARIABLE = 'PLUMBLINE_POLICY_OVERRIDES';

/** How the folders of packs end that the artifact itself brings; they lie beside the list of overrides. */
export const BUNDLED = '-bundled';

/**
 * One violation as a text: of this policy, by this resource. A pack's name holds neither slash nor space, so two violations
 * never have one text. What is not overridden word for word stays mandatory.
 */
export function violationKey({ pack, policy, urn }: { pack: string; policy: string; urn: string }): string {
  return `${pack}/${policy} ${urn}`;
}

const ROOT_STACK = '::pulumi:pulumi:Stack::';

/** The overridden violations of a run. */
export interface Overrides {
  isEmpty: boolean;
  /** Whether this violation was overridden; the engine files one without a resource under the stack itself. */
  holds(violation: { pack: string; policy: string; urn: string }): boolean;
}

/** Makes the look-up of a list of `violationKey`s. */
export function overridesOf(keys: readonly string[]): Overrides {
  const exact = new Set(keys);
  const ofStack = new Set(
    keys.flatMap((key) => {
      const at = key.lastIndexOf(' urn:pulumi:');
      return key.includes(ROOT_STACK, at) ? [key.slice(0, at)] : [];
    }),
  );
  return {
    isEmpty: exact.size === 0,
    holds: (violation) =>
      violation.urn === '' ? ofStack.has(`${violation.pack}/${violation.policy}`) : exact.has(violationKey(violation)),
  };
}

/** The overrides of this run, which the worker wrote where the program cannot. @throws Error when they cannot be read. */
export function readOverrides(path: string | undefined): Overrides {
  if (path === undefined) return overridesOf([]);
  const keys: unknown = JSON.parse(readFileSync(path, 'utf8'));
  if (!Array.isArray(keys) || !keys.every((key) => typeof key === 'string')) throw new Error(`${path} is no list`);
  return overridesOf(keys);
}
