import { sql } from 'kysely';
import { sharesPlace, type BackendUse } from '../engine/backends.ts';
import type { Queryable } from './database.ts';

/**
 * Whether another tenant has a backend that is the same place, or above or below it (design, rule 10). Who has applied there has
 * it; else who named it first.
 * @param since when the stack that asks was made; now for one that does not exist yet.
 */
export async function backendTakenByAnother(
  db: Queryable,
  at: { tenant: string; use: BackendUse; since?: Date },
): Promise<boolean> {
  const others = await db
    .selectFrom('stacks')
    .select([
      sql<string>`coalesce(identity->>'backend', spec->'pulumi'->>'backend')`.as('backend'),
      sql<string>`coalesce(identity->>'organization', spec->'pulumi'->>'organization', 'organization')`.as(
        'organization',
      ),
    ])
    .distinct()
    .where('tenant', '<>', at.tenant)
    .where(sql<boolean>`(identity is not null or spec->'pulumi'->>'backend' is not null)`)
    .where(
      at.since === undefined ? sql<boolean>`true` : sql<boolean>`(identity is not null or created_at <= ${at.since})`,
    )
    .execute();
  return others.some((other) => sharesPlace(other, at.use));
}
