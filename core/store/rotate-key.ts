import { sql, type Kysely, type RawBuilder } from 'kysely';
import { sealContext } from '../seal-context.ts';
import { isSealedBy, rewrap, type MasterKey } from '../secrets.ts';
import type { Schema } from './schema.ts';

/** A column of sealed values: how a row is found again, and the place its seal is bound to. */
interface Sealed {
  table: keyof Schema;
  column: string;
  /** Columns that name the row. */
  key: readonly string[];
  context(row: Record<string, string>): string;
}

const at = (row: Record<string, string>, name: string): string => row[name] ?? '';

/** Every column that the master key seals. A test holds it against the schema. */
export const SEALED_COLUMNS: readonly Sealed[] = [
  { table: 'tenants', column: 'hmac_key', key: ['name'], context: (row) => sealContext.hmacKey(at(row, 'name')) },
  {
    table: 'secrets',
    column: 'sealed',
    key: ['tenant', 'name'],
    context: (row) => sealContext.secret(at(row, 'tenant'), at(row, 'name')),
  },
  {
    table: 'stacks',
    column: 'passphrase',
    key: ['id', 'tenant'],
    context: (row) => sealContext.passphrase({ tenant: at(row, 'tenant'), id: at(row, 'id') }),
  },
  {
    table: 'plans',
    column: 'bytes',
    key: ['run_id', 'tenant'],
    context: (row) => sealContext.plan({ tenant: at(row, 'tenant'), id: at(row, 'run_id') }),
  },
  {
    table: 'run_files',
    column: 'sealed',
    key: ['run_id', 'tenant', 'kind'],
    context: (row) =>
      sealContext.runFile({ tenant: at(row, 'tenant'), runId: at(row, 'run_id'), kind: at(row, 'kind') }),
  },
];

/** Rows read at once; a plan may hold megabytes. */
const BATCH = 50;

function keysOf(sealed: Sealed): RawBuilder<unknown> {
  return sql.join(sealed.key.map((name) => sql`${sql.ref(name)}::text as ${sql.ref(name)}`));
}

async function rewrapColumn(db: Kysely<Schema>, sealed: Sealed, from: MasterKey, to: MasterKey): Promise<number> {
  const table = sql.table(sealed.table);
  const column = sql.ref(sealed.column);
  const order = sql.join(sealed.key.map((name) => sql.ref(name)));
  let changed = 0;
  for (let offset = 0; ; offset += BATCH) {
    const { rows } = await sql<Record<string, string> & { sealed_bytes: Buffer }>`
      select ${keysOf(sealed)}, ${column} as sealed_bytes from ${table}
      where ${column} is not null order by ${order} limit ${BATCH} offset ${offset}`.execute(db);
    for (const { sealed_bytes: bytes, ...row } of rows) {
      const context = sealed.context(row);
      if (isSealedBy(to, bytes, context)) continue;
      const where = sql.join(
        sealed.key.map((name) => sql`${sql.ref(name)}::text = ${at(row, name)}`),
        sql` and `,
      );
      await sql`update ${table} set ${column} = ${rewrap(from, to, bytes, context)} where ${where}`.execute(db);
      changed += 1;
    }
    if (rows.length < BATCH) return changed;
  }
}

/**
 * Puts everything that is sealed under the next master key, in one transaction; returns how many rows that were. Contents stay
 * as they are: only their own keys are sealed anew. Rows under the next key already are left alone, so it may be repeated.
 * Service and workers must be stopped: what they seal meanwhile, they seal with the former key.
 * @throws Error naming the row that neither key opens; nothing is changed then
 */
export async function rotateMasterKey(db: Kysely<Schema>, from: MasterKey, to: MasterKey): Promise<number> {
  return await db.transaction().execute(async (trx) => {
    let changed = 0;
    for (const sealed of SEALED_COLUMNS) {
      await sql`lock table ${sql.table(sealed.table)} in share row exclusive mode`.execute(trx);
      changed += await rewrapColumn(trx, sealed, from, to);
    }
    return changed;
  });
}
