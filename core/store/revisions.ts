import { sql, type Selectable, type Transaction } from 'kysely';
import { clock } from './clock.ts';
import type { Queryable } from './database.ts';
import type { RevisionsTable, Schema } from './schema.ts';
import { lockStack } from './stacks.ts';

export type RevisionRow = Selectable<RevisionsTable>;

export interface SeenRevision {
  tenant: string;
  stackId: string;
  digest: string;
  /** `tag@digest`, as the source named it this time. */
  revision: string;
  annotations: Record<string, string>;
}

/** Notes that the source names a digest. The first sighting gives it the stack's next ordinal, which it keeps. */
export async function seeRevision(
  trx: Transaction<Schema>,
  seen: SeenRevision,
): Promise<{ revision: RevisionRow; isNew: boolean }> {
  await lockStack(trx, seen.stackId, seen.tenant);
  const known = await trx
    .updateTable('revisions')
    .set({ revision: seen.revision, last_seen_at: clock() })
    .where('stack_id', '=', seen.stackId)
    .where('digest', '=', seen.digest)
    .returningAll()
    .executeTakeFirst();
  if (known !== undefined) return { revision: known, isNew: false };
  const { last } = await trx
    .selectFrom('revisions')
    .select(sql<number>`coalesce(max(ordinal), 0)`.as('last'))
    .where('stack_id', '=', seen.stackId)
    .executeTakeFirstOrThrow();
  const revision = await trx
    .insertInto('revisions')
    .values({
      tenant: seen.tenant,
      stack_id: seen.stackId,
      digest: seen.digest,
      revision: seen.revision,
      ordinal: last + 1,
      annotations: JSON.stringify(seen.annotations),
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  return { revision, isNew: true };
}

export async function getRevision(db: Queryable, stackId: string, digest: string): Promise<RevisionRow | undefined> {
  return await db
    .selectFrom('revisions')
    .selectAll()
    .where('stack_id', '=', stackId)
    .where('digest', '=', digest)
    .executeTakeFirst();
}

/** A tag of a stack's source; `repository`: `host/name`. */
export interface SourceTag {
  stackId: string;
  repository: string;
  tag: string;
}

/** The digest a tag of the stack's source named when it was last believed; undefined for a tag not seen yet. */
export async function lastDigestOf(
  db: Queryable,
  { stackId, repository, tag }: SourceTag,
): Promise<string | undefined> {
  const row = await db
    .selectFrom('source_tags')
    .select('digest')
    .where('stack_id', '=', stackId)
    .where('repository', '=', repository)
    .where('tag', '=', tag)
    .executeTakeFirst();
  return row?.digest;
}

/** Notes which digest a tag is believed to name. */
export async function believeTag(
  db: Queryable,
  { stackId, repository, tag }: SourceTag,
  digest: string,
): Promise<void> {
  await db
    .insertInto('source_tags')
    .values({ stack_id: stackId, repository, tag, digest })
    .onConflict((conflict) => conflict.columns(['stack_id', 'repository', 'tag']).doUpdateSet({ digest }))
    .execute();
}

/**
 * Order of the first revision but `except` that is the manifest `digest`, or an index that was found to be signed by a
 * signature of it; undefined where there is none.
 */
export async function ordinalOfProgram(
  db: Queryable,
  at: { stackId: string; digest: string; except: string },
): Promise<number | undefined> {
  const signer = JSON.stringify([{ digest: at.digest }]);
  const row = await db
    .selectFrom('revisions')
    .select('ordinal')
    .where('stack_id', '=', at.stackId)
    .where('digest', '<>', at.except)
    .where(
      sql<boolean>`(digest = ${at.digest} or exists (select from verifications where verifications.tenant = revisions.tenant
        and verifications.digest = revisions.digest and signers @> ${signer}::jsonb))`,
    )
    .orderBy('ordinal')
    .limit(1)
    .executeTakeFirst();
  return row?.ordinal;
}

/** Notes that a revision was applied now. */
export async function markApplied(trx: Transaction<Schema>, at: { stackId: string; digest: string }): Promise<void> {
  await trx
    .updateTable('revisions')
    .set({ applied_at: clock() })
    .where('stack_id', '=', at.stackId)
    .where('digest', '=', at.digest)
    .execute();
}

/** The latest sighted first; `before` is an ordinal. */
export async function listRevisions(
  db: Queryable,
  at: { stackId: string; limit: number; before?: number },
): Promise<RevisionRow[]> {
  const query = db
    .selectFrom('revisions')
    .selectAll()
    .where('stack_id', '=', at.stackId)
    .orderBy('ordinal', 'desc')
    .limit(at.limit);
  return await (at.before === undefined ? query : query.where('ordinal', '<', at.before)).execute();
}
