import * as pulumi from '@pulumi/pulumi';
import { identifier, inTransaction, literal, withDatabase } from './connection.ts';
import { changedProperties, nameProblem } from './identity.ts';
import { scramVerifier } from './scram.ts';

/** A role as the cluster has it. */
export interface RoleState {
  name: string;
  login: boolean;
  createDatabase: boolean;
  /** Sessions at once; -1: no limit. */
  connectionLimit: number;
  /** Roles it is a member of, sorted. */
  memberOf: string[];
  /** Write-only: the cluster never shows it, so a change behind our back is not seen. */
  password?: string;
}

export interface RoleArgs extends Omit<RoleState, 'password'> {
  password?: pulumi.Input<string>;
}

interface RoleRow {
  rolcanlogin: boolean;
  rolcreatedb: boolean;
  rolconnlimit: number;
  groups: string[];
}

const findRole = `
  select r.rolcanlogin, r.rolcreatedb, r.rolconnlimit, array(
    select g.rolname::text from pg_auth_members m join pg_roles g on g.oid = m.roleid where m.member = r.oid order by 1
  ) as groups
  from pg_roles r where r.rolname = $1`;

function attributes(role: RoleState): string {
  return [
    role.login ? 'login' : 'nologin',
    role.createDatabase ? 'createdb' : 'nocreatedb',
    `connection limit ${Number(role.connectionLimit)}`,
  ].join(' ');
}

function passwordClause(role: RoleState): string {
  return role.password === undefined ? '' : ` password ${literal(scramVerifier(role.password))}`;
}

function membership(verb: string, word: string, groups: readonly string[], name: string): string[] {
  return groups.map((group) => `${verb} ${identifier(group)} ${word} ${identifier(name)}`);
}

// Since PostgreSQL 16 whoever is no superuser may use a role it made only by granting it to itself.
const selfGrant = `select set_config('createrole_self_grant', 'set, inherit', true)
  where current_setting('server_version_num')::int >= 160000`;

const provider: pulumi.dynamic.ResourceProvider<RoleState, RoleState> = {
  async check(_olds, news) {
    const problem = nameProblem(news.name);
    const reserved = String(news.name).startsWith('pg_')
      ? 'starts with pg_, which PostgreSQL keeps for itself'
      : undefined;
    const failures = [problem ?? reserved].flatMap((reason) =>
      reason === undefined ? [] : [{ property: 'name', reason }],
    );
    if (!Number.isInteger(news.connectionLimit) || news.connectionLimit < -1) {
      failures.push({ property: 'connectionLimit', reason: 'must be a whole number, -1 for no limit' });
    }
    return { inputs: { ...news, memberOf: [...news.memberOf].sort() }, failures };
  },

  async diff(_id, olds, news) {
    const changed = changedProperties(olds, news, [
      'name',
      'login',
      'createDatabase',
      'connectionLimit',
      'memberOf',
      'password',
    ]);
    return { changes: changed.length > 0, replaces: changed.filter((property) => property === 'name') };
  },

  async create(inputs) {
    await withDatabase(undefined, (client) =>
      inTransaction(client, [
        selfGrant,
        `create role ${identifier(inputs.name)} ${attributes(inputs)}${passwordClause(inputs)}`,
        ...membership('grant', 'to', inputs.memberOf, inputs.name),
      ]),
    );
    return { id: inputs.name, outs: inputs };
  },

  async read(id, props) {
    const { rows } = await withDatabase(undefined, (client) => client.query<RoleRow>(findRole, [id]));
    const [found] = rows;
    if (found === undefined) return { id: '' };
    const live: RoleState = {
      name: id,
      login: found.rolcanlogin,
      createDatabase: found.rolcreatedb,
      connectionLimit: found.rolconnlimit,
      memberOf: found.groups,
      ...(props?.password === undefined ? {} : { password: props.password }),
    };
    return { id, props: live, inputs: live };
  },

  async update(id, olds, news) {
    const password =
      olds.password === news.password ? '' : news.password === undefined ? ' password null' : passwordClause(news);
    await withDatabase(undefined, (client) =>
      inTransaction(client, [
        `alter role ${identifier(id)} ${attributes(news)}${password}`,
        ...membership(
          'revoke',
          'from',
          olds.memberOf.filter((group) => !news.memberOf.includes(group)),
          id,
        ),
        ...membership(
          'grant',
          'to',
          news.memberOf.filter((group) => !olds.memberOf.includes(group)),
          id,
        ),
      ]),
    );
    return { outs: news };
  },

  async delete(id) {
    await withDatabase(undefined, (client) => client.query(`drop role if exists ${identifier(id)}`));
  },
};

/** A role of the cluster. Dropping it fails while it owns anything. */
export class Role extends pulumi.dynamic.Resource {
  constructor(name: string, args: RoleArgs, options?: pulumi.CustomResourceOptions) {
    super(provider, name, { ...args }, options, 'postgres', 'Role');
  }
}
