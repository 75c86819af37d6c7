import { sql, type Kysely } from 'kysely';

/**
 * The digest each tag of a source had when it was last believed. A revision has one name only, the newest, so it does not
 * know of a tag any more once the stack was pinned to its digest.
 */
export async function up(db: Kysely<unknown>): Promise<void> {
  await sql`
    create table source_tags (
      stack_id bigint not null references stacks on delete cascade,
      repository text not null,
      tag text not null,
      digest text not null,
      primary key (stack_id, repository, tag)
    )`.execute(db);
  await sql`
    insert into source_tags (stack_id, repository, tag, digest)
    select distinct on (revisions.stack_id, tag) revisions.stack_id, stacks.repository, tag, digest
    from revisions
    join stacks on stacks.id = revisions.stack_id
    cross join lateral split_part(revisions.revision, '@', 1) as tag
    where revisions.revision = tag || '@' || digest and tag <> digest
    order by revisions.stack_id, tag, last_seen_at desc`.execute(db);
}
