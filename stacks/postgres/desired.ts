import { readFileSync } from 'node:fs';
import type { DatabaseState } from './database.ts';
import type { GrantState } from './grant.ts';
import type { RoleState } from './role.ts';
import type { SchemaState } from './schema.ts';

/** A role as `desired.json` has it: what is silent has the default of CREATE ROLE. */
export interface DesiredRole extends Omit<RoleState, 'password'> {
  /** Name of the secret config value with its password; absent: the role gets none. */
  passwordConfig?: string;
}

/** Everything this program keeps in the cluster. */
export interface Desired {
  /** Groups before their members. */
  roles: DesiredRole[];
  databases: DatabaseState[];
  schemas: SchemaState[];
  grants: GrantState[];
}

const shape = {
  roles: {
    name: 'string',
    login: 'boolean?',
    createDatabase: 'boolean?',
    connectionLimit: 'number?',
    memberOf: 'list?',
    passwordConfig: 'string?',
  },
  databases: { name: 'string', owner: 'string', connectionLimit: 'number?' },
  schemas: { database: 'string', name: 'string', owner: 'string' },
  grants: { database: 'string', schema: 'string?', role: 'string', privileges: 'list' },
} as const;

function typeOf(value: unknown): string {
  const strings = Array.isArray(value) && value.every((item) => typeof item === 'string');
  if (Array.isArray(value)) return strings ? 'list' : 'array';
  return typeof value;
}

function problemsOf(where: string, item: unknown, fields: Record<string, string>): string[] {
  if (typeof item !== 'object' || item === null) return [`${where} is no object`];
  const unknown = Object.keys(item).filter((key) => !(key in fields));
  const wrong = Object.entries(fields).filter(([key, type]) => {
    const value: unknown = Reflect.get(item, key);
    return value === undefined ? !type.endsWith('?') : typeOf(value) !== type.replace('?', '');
  });
  return [
    ...unknown.map((key) => `${where}.${key} is unknown`),
    ...wrong.map(([key, type]) => `${where}.${key} must be a ${type.replace('?', '')}`),
  ];
}

/**
 * Reads the data file beside the program.
 * @throws Error with every problem it has, so that nothing is planned from a typo.
 */
export function readDesired(file: string): Desired {
  const parsed: unknown = JSON.parse(readFileSync(file, 'utf8'));
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed))
    throw new Error('desired.json: must be an object');
  const data = new Map<string, unknown>(Object.entries(parsed));
  const list = (key: string): unknown[] => {
    const found = data.get(key) ?? [];
    return Array.isArray(found) ? found : [];
  };
  const problems = [
    ...[...data].filter(([, value]) => !Array.isArray(value)).map(([key]) => `${key} must be a list`),
    ...[...data.keys()].filter((key) => !(key in shape)).map((key) => `${key} is unknown`),
    ...Object.entries(shape).flatMap(([key, fields]) =>
      list(key).flatMap((item, index) => problemsOf(`${key}[${index}]`, item, fields)),
    ),
  ];
  if (problems.length > 0) throw new Error(`desired.json: ${problems.join('; ')}`);
  const filled = (key: string, defaults: object) => list(key).map((item) => Object.assign({}, defaults, item));
  const desired: unknown = {
    roles: filled('roles', { login: false, createDatabase: false, connectionLimit: -1, memberOf: [] }),
    databases: filled('databases', { connectionLimit: -1 }),
    schemas: filled('schemas', {}),
    grants: filled('grants', { schema: '' }),
  };
  // Checked field by field above.
  return inOrder(desired as Desired);
}

function inOrder(desired: Desired): Desired {
  const names = desired.roles.map((role) => role.name);
  const early = desired.roles.find((role, index) => role.memberOf.some((group) => names.indexOf(group) >= index));
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`desired.json: role ${twice} is there twice`);
  if (early !== undefined) throw new Error(`desired.json: role ${early.name} comes before a group it is a member of`);
  return desired;
}
