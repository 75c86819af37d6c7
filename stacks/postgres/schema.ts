import * as pulumi from '@pulumi/pulumi';
import { identifier, withDatabase, withExistingDatabase } from './connection.ts';
import { changedProperties, joinId, nameProblem, splitId } from './identity.ts';

/** A schema as its database has it. */
export interface SchemaState {
  database: string;
  name: string;
  owner: string;
}

const findSchema = `
  select r.rolname as owner from pg_namespace n join pg_roles r on r.oid = n.nspowner where n.nspname = $1`;

const provider: pulumi.dynamic.ResourceProvider<SchemaState, SchemaState> = {
  async check(_olds, news) {
    const problem = nameProblem(news.name);
    return { inputs: news, failures: problem === undefined ? [] : [{ property: 'name', reason: problem }] };
  },

  async diff(_id, olds, news) {
    const changed = changedProperties(olds, news, ['database', 'name', 'owner']);
    return { changes: changed.length > 0, replaces: changed.filter((property) => property !== 'owner') };
  },

  async create(inputs) {
    await withDatabase(inputs.database, (client) =>
      client.query(`create schema ${identifier(inputs.name)} authorization ${identifier(inputs.owner)}`),
    );
    return { id: joinId([inputs.database, inputs.name]), outs: inputs };
  },

  async read(id) {
    const [database = '', name = ''] = splitId(id);
    const result = await withExistingDatabase(database, (client) =>
      client.query<{ owner: string }>(findSchema, [name]),
    );
    const found = result?.rows[0];
    if (found === undefined) return { id: '' };
    const live: SchemaState = { database, name, owner: found.owner };
    return { id, props: live, inputs: live };
  },

  async update(_id, _olds, news) {
    await withDatabase(news.database, (client) =>
      client.query(`alter schema ${identifier(news.name)} owner to ${identifier(news.owner)}`),
    );
    return { outs: news };
  },

  async delete(_id, props) {
    // Without CASCADE: what people made in it is theirs.
    await withExistingDatabase(props.database, (client) =>
      client.query(`drop schema if exists ${identifier(props.name)}`),
    );
  },
};

/** A schema of a database. Dropping it fails while it holds anything. */
export class Schema extends pulumi.dynamic.Resource {
  constructor(name: string, args: SchemaState, options?: pulumi.CustomResourceOptions) {
    super(provider, name, { ...args }, options, 'postgres', 'Schema');
  }
}
