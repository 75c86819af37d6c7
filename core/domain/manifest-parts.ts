import { Type } from 'typebox';

/** Unknown fields are refused, so a typo never means "default". */
export const closed = { additionalProperties: false } as const;

/** DNS label: also safe as a folder name, a Pulumi stack name part and a queue id. No `_` (see pulumi.md section 4). */
export const NAME_PATTERN = '^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$';
export const Name = Type.String({ pattern: NAME_PATTERN, minLength: 1, maxLength: 63 });

/** Go-like durations: 500ms, 30s, 5m, 2h, 7d, and sums such as 1h30m. */
export const DURATION_PATTERN = '^([0-9]+(ms|s|m|h|d))+$';
export const Duration = Type.String({ pattern: DURATION_PATTERN, maxLength: 32 });

/** One of a few words. */
export const oneOf = <const T extends string>(values: readonly T[]) =>
  Type.Unsafe<T>({ type: 'string', enum: [...values] });
