import { Type } from 'typebox';
import { Name } from '#core/domain/manifest-parts.ts';
import { Digest } from '#core/domain/manifest.ts';
import { ProblemView } from '#core/domain/view.ts';

/** Parts that several routes share. */
const closed = { additionalProperties: false } as const;

export const TenantParams = Type.Object({ tenant: Name });
export const StackParams = Type.Object({ tenant: Name, stack: Name });
export const RunParams = Type.Object({
  tenant: Name,
  stack: Name,
  number: Type.Integer({ minimum: 1, maximum: 2 ** 31 - 1 }),
});

export const MAX_PAGE = 500;
export const PageQuery = Type.Object(
  {
    cursor: Type.Optional(Type.String({ maxLength: 256, description: '`next` of the page before' })),
    limit: Type.Optional(Type.Integer({ minimum: 1, maximum: MAX_PAGE, default: 50 })),
  },
  closed,
);
export const DEFAULT_PAGE = 50;

/** Body of an approval or a discard: what exactly is meant, and why. */
export const DecisionBody = Type.Object(
  { planDigest: Digest, comment: Type.Optional(Type.String({ maxLength: 2000 })) },
  closed,
);

/** Answers of every route that is not open, beside its own. */
const problem = {
  description: 'a problem document (RFC 9457)',
  content: { 'application/problem+json': { schema: ProblemView } },
};
export const problems = { '4xx': problem, '5xx': problem };
