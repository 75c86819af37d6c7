import * as pulumi from '@pulumi/pulumi';
import { identifier, withDatabase } from './connection.ts';
import { changedProperties, nameProblem } from './identity.ts';

/** A database as the cluster has it. */
export interface DatabaseState {
  name: string;
  owner: string;
  /** Sessions at once; -1: no limit. */
  connectionLimit: number;
}

const findDatabase = `
  select r.rolname as owner, d.datconnlimit
  from pg_database d join pg_roles r on r.oid = d.datdba where d.datname = $1`;

const provider: pulumi.dynamic.ResourceProvider<DatabaseState, DatabaseState> = {
  async check(_olds, news) {
    const problem = nameProblem(news.name);
    const failures = problem === undefined ? [] : [{ property: 'name', reason: problem }];
    if (!Number.isInteger(news.connectionLimit) || news.connectionLimit < -1) {
      failures.push({ property: 'connectionLimit', reason: 'must be a whole number, -1 for no limit' });
    }
    return { inputs: news, failures };
  },

  async diff(_id, olds, news) {
    const changed = changedProperties(olds, news, ['name', 'owner', 'connectionLimit']);
    return { changes: changed.length > 0, replaces: changed.filter((property) => property === 'name') };
  },

  async create(inputs) {
    const limit = Number(inputs.connectionLimit);
    await withDatabase(undefined, (client) =>
      client.query(
        `create database ${identifier(inputs.name)} owner ${identifier(inputs.owner)} connection limit ${limit}`,
      ),
    );
    return { id: inputs.name, outs: inputs };
  },

  async read(id) {
    const { rows } = await withDatabase(undefined, (client) =>
      client.query<{ owner: string; datconnlimit: number }>(findDatabase, [id]),
    );
    const [found] = rows;
    if (found === undefined) return { id: '' };
    const live: DatabaseState = { name: id, owner: found.owner, connectionLimit: found.datconnlimit };
    return { id, props: live, inputs: live };
  },

  async update(id, _olds, news) {
    await withDatabase(undefined, async (client) => {
      await client.query(`alter database ${identifier(id)} connection limit ${Number(news.connectionLimit)}`);
      await client.query(`alter database ${identifier(id)} owner to ${identifier(news.owner)}`);
    });
    return { outs: news };
  },

  async delete(id) {
    // Without FORCE: a database somebody is connected to is not dropped below them.
    await withDatabase(undefined, (client) => client.query(`drop database if exists ${identifier(id)}`));
  },
};

/** A database of the cluster. */
export class Database extends pulumi.dynamic.Resource {
  constructor(name: string, args: DatabaseState, options?: pulumi.CustomResourceOptions) {
    super(provider, name, { ...args }, options, 'postgres', 'Database');
  }
}
