import * as pulumi from '@pulumi/pulumi';
import type pg from 'pg';
import { identifier, inTransaction, withDatabase, withExistingDatabase } from './connection.ts';
import { changedProperties, joinId, splitId } from './identity.ts';

/** Everything a role may do directly on a database, or on one schema of it. */
export interface GrantState {
  database: string;
  /** Empty: the database itself. */
  schema: string;
  role: string;
  /** Upper case, sorted. */
  privileges: string[];
}

const allowed = { database: ['CONNECT', 'CREATE', 'TEMPORARY'], schema: ['CREATE', 'USAGE'] };

const findDatabaseGrants = `
  select a.privilege_type::text as privilege
  from pg_database d, aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) a, pg_roles r
  where d.datname = $1 and r.oid = a.grantee and r.rolname = $2 order by 1`;

const findSchemaGrants = `
  select a.privilege_type::text as privilege
  from pg_namespace n, aclexplode(coalesce(n.nspacl, acldefault('n', n.nspowner))) a, pg_roles r
  where n.nspname = $1 and r.oid = a.grantee and r.rolname = $2 order by 1`;

function statement(verb: string, word: string, privileges: readonly string[], grant: GrantState): string[] {
  if (privileges.length === 0) return [];
  const known = grant.schema === '' ? allowed.database : allowed.schema;
  const list = privileges.filter((privilege) => known.includes(privilege)).join(', ');
  const object = grant.schema === '' ? `database ${identifier(grant.database)}` : `schema ${identifier(grant.schema)}`;
  return [`${verb} ${list} on ${object} ${word} ${identifier(grant.role)}`];
}

async function findPrivileges(client: pg.Client, database: string, schema: string, role: string): Promise<string[]> {
  const { rows } =
    schema === ''
      ? await client.query<{ privilege: string }>(findDatabaseGrants, [database, role])
      : await client.query<{ privilege: string }>(findSchemaGrants, [schema, role]);
  return rows.map((row) => row.privilege);
}

const provider: pulumi.dynamic.ResourceProvider<GrantState, GrantState> = {
  async check(_olds, news) {
    const privileges = [...new Set(news.privileges.map((privilege) => privilege.toUpperCase()))].sort();
    const known = news.schema === '' ? allowed.database : allowed.schema;
    const unknown = privileges.filter((privilege) => !known.includes(privilege));
    const reason =
      privileges.length === 0 || unknown.length > 0
        ? `takes ${known.join(', ')}, not ${unknown.join(', ') || 'nothing'}`
        : undefined;
    const failures = reason === undefined ? [] : [{ property: 'privileges', reason }];
    return { inputs: { ...news, privileges }, failures };
  },

  async diff(_id, olds, news) {
    const changed = changedProperties(olds, news, ['database', 'schema', 'role', 'privileges']);
    return { changes: changed.length > 0, replaces: changed.filter((property) => property !== 'privileges') };
  },

  async create(inputs) {
    await withDatabase(inputs.database, (client) =>
      inTransaction(client, statement('grant', 'to', inputs.privileges, inputs)),
    );
    return { id: joinId([inputs.database, inputs.schema, inputs.role]), outs: inputs };
  },

  async read(id) {
    const [database = '', schema = '', role = ''] = splitId(id);
    const privileges = await withExistingDatabase(database, (client) => findPrivileges(client, database, schema, role));
    if (privileges === undefined || privileges.length === 0) return { id: '' };
    const live: GrantState = { database, schema, role, privileges };
    return { id, props: live, inputs: live };
  },

  async update(_id, olds, news) {
    const dropped = olds.privileges.filter((privilege) => !news.privileges.includes(privilege));
    await withDatabase(news.database, (client) =>
      inTransaction(client, [
        ...statement('revoke', 'from', dropped, news),
        ...statement('grant', 'to', news.privileges, news),
      ]),
    );
    return { outs: news };
  },

  async delete(_id, props) {
    await withExistingDatabase(props.database, async (client) => {
      // Nothing to revoke where the role or the schema is gone already.
      const held = await findPrivileges(client, props.database, props.schema, props.role);
      await inTransaction(client, statement('revoke', 'from', held, props));
    });
  },
};

/** What a role may do on a database or a schema. Not for the owner, who may do everything anyway. */
export class Grant extends pulumi.dynamic.Resource {
  constructor(name: string, args: GrantState, options?: pulumi.CustomResourceOptions) {
    super(provider, name, { ...args }, options, 'postgres', 'Grant');
  }
}
