import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readDesired } from './desired.ts';

const dir = mkdtempSync(join(tmpdir(), 'desired-'));
afterAll(() => rmSync(dir, { recursive: true }));

function fileWith(data: unknown): string {
  const file = join(dir, 'desired.json');
  writeFileSync(file, JSON.stringify(data));
  return file;
}

describe('readDesired', () => {
  it('reads the file that ships with the program', () => {
    const desired = readDesired(join(import.meta.dirname, 'desired.json'));
    expect(desired.roles.map((role) => role.name)).toEqual(['shop_owner', 'shop_api', 'shop_reader']);
  });

  it('fills in what PostgreSQL does when nothing is said', () => {
    const desired = readDesired(fileWith({ roles: [{ name: 'a' }], databases: [{ name: 'd', owner: 'a' }] }));
    expect(desired).toEqual({
      roles: [{ name: 'a', login: false, createDatabase: false, connectionLimit: -1, memberOf: [] }],
      databases: [{ name: 'd', owner: 'a', connectionLimit: -1 }],
      schemas: [],
      grants: [],
    });
  });

  it.each([
    ['a misspelt property', { roles: [{ name: 'a', conectionLimit: 3 }] }, 'roles[0].conectionLimit is unknown'],
    ['a misspelt list', { role: [] }, 'role is unknown'],
    ['a list that is none', { roles: { name: 'a' } }, 'roles must be a list'],
    ['a missing property', { databases: [{ name: 'd' }] }, 'databases[0].owner must be a string'],
    ['a wrong type', { roles: [{ name: 'a', login: 'yes' }] }, 'roles[0].login must be a boolean'],
    [
      'a member before its group',
      { roles: [{ name: 'a', memberOf: ['b'] }, { name: 'b' }] },
      'role a comes before a group',
    ],
    ['two roles of one name', { roles: [{ name: 'a' }, { name: 'a' }] }, 'role a is there twice'],
    ['a list instead of an object', [], 'must be an object'],
  ])('refuses %s before anything is planned', (_what, data, message) => {
    expect(() => readDesired(fileWith(data))).toThrow(message);
  });

  it('leaves groups that are managed elsewhere alone', () => {
    expect(readDesired(fileWith({ roles: [{ name: 'a', memberOf: ['elsewhere'] }] })).roles).toHaveLength(1);
  });
});
