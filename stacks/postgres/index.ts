import { join } from 'node:path';
import * as pulumi from '@pulumi/pulumi';
import { Database } from './database.ts';
import { readDesired } from './desired.ts';
import { Grant } from './grant.ts';
import { Role } from './role.ts';
import { Schema } from './schema.ts';

const config = new pulumi.Config();
const desired = readDesired(join(import.meta.dirname, config.get('desired') ?? 'desired.json'));

// Names are plain strings, never outputs: a preview then knows everything, and an approval lists nothing unknown. The order
// comes from `dependsOn`, which leaves out what this program does not manage.
const roles = new Map<string, Role>();
const databases = new Map<string, Database>();
const schemas = new Map<string, Schema>();
const managed = (...resources: (pulumi.Resource | undefined)[]) => ({
  dependsOn: resources.filter((resource) => resource !== undefined),
});

for (const { passwordConfig, ...role } of desired.roles) {
  const password = passwordConfig === undefined ? {} : { password: config.requireSecret(passwordConfig) };
  const groups = role.memberOf.map((group) => roles.get(group));
  roles.set(role.name, new Role(role.name, { ...role, ...password }, managed(...groups)));
}

for (const database of desired.databases) {
  databases.set(database.name, new Database(database.name, database, managed(roles.get(database.owner))));
}

for (const schema of desired.schemas) {
  const name = `${schema.database}/${schema.name}`;
  schemas.set(name, new Schema(name, schema, managed(databases.get(schema.database), roles.get(schema.owner))));
}

for (const grant of desired.grants) {
  const place = grant.schema === '' ? grant.database : `${grant.database}/${grant.schema}`;
  const on = grant.schema === '' ? databases.get(place) : (schemas.get(place) ?? databases.get(grant.database));
  new Grant(`${place}/${grant.role}`, grant, managed(on, roles.get(grant.role)));
}

export const managedRoles = [...roles.keys()];
export const managedDatabases = [...databases.keys()];
