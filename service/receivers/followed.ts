import { sql } from 'kysely';
import type { Queryable } from '#core/store/database.ts';

/**
 * Repositories that stacks of the tenant follow and an event may mean, as `host/name`. A registry seldom knows the host it
 * is reached by, so the name alone is enough: at worst a stack is looked at for nothing.
 */
export async function followedRepositories(db: Queryable, tenant: string, named: string): Promise<string[]> {
  const name = named.replace(/^oci:\/\//, '');
  const rows = await db
    .selectFrom('stacks')
    .select('repository')
    .distinct()
    .where('tenant', '=', tenant)
    .where(sql<boolean>`(repository = ${name} or substring(repository from position('/' in repository) + 1) = ${name})`)
    .orderBy('repository')
    .execute();
  return rows.map((row) => row.repository);
}
