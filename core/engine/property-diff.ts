import { createHash } from 'node:crypto';
import { canonicalJson, type PropertyDiff } from '../domain/plan.ts';
import { UNKNOWN } from './plan-file.ts';

type Properties = Record<string, unknown>;

/** Serialized closures and files are no reading matter. */
const MAX_SHOWN_CHARS = 1024;
const HEAD_CHARS = 200;
const UNKNOWN_SHOWN = '(known after apply)';

/** The engine's mark for special values, and the one of a secret (sdk/go/common/resource/sig). */
const SIGNATURE = '4dabf18193072939515e22adb298388d';
const SECRET_SIGNATURE = '1b47061264138c4ac30d75fd1eb44270';

/** What stands in the place of every secret. */
export const SECRET = '[secret]';

function isProperties(value: unknown): value is Properties {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/** Whether a value is a secret as events carry it, its content already replaced by the engine. */
export function isSecret(value: unknown): boolean {
  return isProperties(value) && value[SIGNATURE] === SECRET_SIGNATURE;
}

/** A value as people see it: secrets and unknowns named, long texts cut with their digest, so that a hidden difference still shows. */
export function shown(value: unknown): unknown {
  if (value === UNKNOWN) return UNKNOWN_SHOWN;
  if (isSecret(value)) return SECRET;
  if (Array.isArray(value)) return value.map(shown);
  if (isProperties(value)) return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, shown(item)]));
  if (typeof value !== 'string' || value.length <= MAX_SHOWN_CHARS) return value;
  const digest = createHash('sha256').update(value).digest('hex').slice(0, 16);
  return `${value.slice(0, HEAD_CHARS)}… (${value.length} characters, sha256 ${digest})`;
}

/** Splits a property path of the engine: `a.b[0]["c.d"]`. */
export function splitPath(path: string): string[] {
  return [...path.matchAll(/\["((?:[^"\\]|\\.)*)"\]|\[(\d+)\]|([^.[\]]+)/g)].map(
    ([, quoted, index, plain]) => quoted?.replaceAll(/\\(.)/g, '$1') ?? index ?? plain ?? '',
  );
}

/** The value at a path, or the secret it lies in; undefined where there is none. */
export function valueAt(properties: Properties | undefined, path: string): unknown {
  let value: unknown = properties;
  for (const part of splitPath(path)) {
    if (isSecret(value)) return value;
    if (Array.isArray(value)) value = value[Number(part)];
    else if (isProperties(value)) value = value[part];
    else return undefined;
  }
  return value;
}

function joinPath(path: string, key: string): string {
  if (!/^[^.[\]"]+$/.test(key)) return `${path}[${JSON.stringify(key)}]`;
  return path === '' ? key : `${path}.${key}`;
}

/** One value that differs, as it is: secrets are still the engine's marks. */
export interface Leaf {
  path: string;
  before: unknown;
  after: unknown;
}

/** How many elements two lists have in common from one end. */
function commonLength(before: readonly unknown[], after: readonly unknown[], most: number, fromEnd: boolean): number {
  let count = 0;
  for (; count < most; count++) {
    const [one, other] = fromEnd ? [before.at(-1 - count), after.at(-1 - count)] : [before[count], after[count]];
    if (canonicalJson(one) !== canonicalJson(other)) break;
  }
  return count;
}

/** Whether two lists hold the same in another order; what an order means is for the reader to say. */
export function isReordered(before: unknown, after: unknown): boolean {
  if (!Array.isArray(before) || !Array.isArray(after) || before.length !== after.length) return false;
  const sorted = (list: unknown[]) => list.map((item) => canonicalJson(item)).sort();
  const [one, other] = [sorted(before), sorted(after)];
  const isSamePlace = before.every((item, index) => canonicalJson(item) === canonicalJson(after[index]));
  return !isSamePlace && one.every((item, index) => item === other[index]);
}

/**
 * What was put into or taken out of a list must not make every element behind it differ, so what both ends have in common is
 * left out first. Between them elements are compared place by place.
 */
function listDifferences(path: string, before: unknown[], after: unknown[], found: Leaf[]): void {
  if (isReordered(before, after)) return void found.push({ path, before, after });
  const most = Math.min(before.length, after.length);
  const head = commonLength(before, after, most, false);
  const tail = commonLength(before, after, most - head, true);
  const end = Math.max(before.length, after.length) - tail;
  for (let index = head; index < end; index++) {
    const [one, other] = [before.length - tail > index, after.length - tail > index];
    differences(`${path}[${index}]`, one ? before[index] : undefined, other ? after[index] : undefined, found);
  }
}

function differences(path: string, before: unknown, after: unknown, found: Leaf[]): void {
  if (isSecret(before) && isSecret(after)) return;
  if (isProperties(before) && isProperties(after) && !isSecret(before) && !isSecret(after)) {
    for (const key of new Set([...Object.keys(before), ...Object.keys(after)])) {
      differences(joinPath(path, key), before[key], after[key], found);
    }
    return;
  }
  if (Array.isArray(before) && Array.isArray(after)) return listDifferences(path, before, after, found);
  if (before !== after) found.push({ path, before, after });
}

/** Every leaf that differs between two values, with its path below `path`. A secret on both sides is none. */
export function leafDifferences(before: unknown, after: unknown, path = ''): Leaf[] {
  const found: Leaf[] = [];
  differences(path, before, after, found);
  return found;
}

/** Both sides as people see them; a side that does not exist is left out. */
export function shownSides(before: unknown, after: unknown): Pick<PropertyDiff, 'before' | 'after'> {
  return {
    ...(before === undefined ? {} : { before: shown(before) }),
    ...(after === undefined ? {} : { after: shown(after) }),
  };
}

/** Every leaf that differs between two sets of properties, as people see it. */
export function diffProperties(before: Properties, after: Properties): PropertyDiff[] {
  return leafDifferences(before, after).map((leaf) => {
    const kind = leaf.before === undefined ? 'add' : leaf.after === undefined ? 'delete' : 'update';
    return { path: leaf.path, kind, replaces: false, ...shownSides(leaf.before, leaf.after) };
  });
}

function collectUnknowns(path: string, value: unknown, found: string[]): void {
  if (value === UNKNOWN) found.push(path);
  if (Array.isArray(value)) value.forEach((item, index) => collectUnknowns(`${path}[${index}]`, item, found));
  if (isProperties(value))
    for (const [key, item] of Object.entries(value)) collectUnknowns(joinPath(path, key), item, found);
}

/** Paths whose value the engine does not know before the apply. */
export function unknownPaths(properties: Properties): string[] {
  const found: string[] = [];
  collectUnknowns('', properties, found);
  return found;
}
