import { createCipheriv, randomBytes } from 'node:crypto';
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  hmacValue,
  isSealedBy,
  loadMasterKey,
  newPassphrase,
  newTenantKey,
  open,
  openTenantKey,
  rewrap,
  seal,
  type MasterKey,
} from './secrets.ts';

let root: string;
let data: string;
let file: string;

beforeEach(async () => {
  root = await mkdtemp(join(tmpdir(), 'plumbline-key-'));
  data = join(root, 'data');
  file = join(root, 'config', 'master.key');
  await mkdir(data);
});
afterEach(async () => await rm(root, { recursive: true, force: true }));

describe('the master key', () => {
  it('is made at the first start, for its owner only, and read at the next', async () => {
    const first = await loadMasterKey(file, data);
    const second = await loadMasterKey(file, data);
    expect(open(second, seal(first, 'text', 'c'), 'c').toString()).toBe('text');
    const modes = await Promise.all([stat(file), stat(join(root, 'config'))]);
    expect(modes.map(({ mode }) => (mode & 0o777).toString(8))).toEqual(['600', '700']);
    expect(await readdir(join(root, 'config'))).toEqual(['master.key']);
  });

  it('is one key even when ten processes start first at the same moment', async () => {
    const keys = await Promise.all(Array.from({ length: 10 }, () => loadMasterKey(file, data)));
    const sealed = keys.map((key) => seal(key, 'x', 'c'));
    for (const [i, key] of keys.entries())
      expect(open(key, sealed[(i + 1) % 10] ?? Buffer.alloc(0), 'c').toString()).toBe('x');
  });

  it('never lies inside the data folder, nor reaches it by a link', async () => {
    await expect(loadMasterKey(join(data, 'keys', 'master.key'), data)).rejects.toThrow('lies inside the data folder');
    await symlink(data, join(root, 'elsewhere'));
    await expect(loadMasterKey(join(root, 'elsewhere', 'master.key'), data)).rejects.toThrow(
      'lies inside the data folder',
    );
    expect(await readdir(data)).toEqual([]);
  });

  it('beside a data folder of a similar name is outside', async () => {
    await expect(loadMasterKey(`${data}-key/master.key`, data)).resolves.toBeDefined();
    await expect(loadMasterKey(join(root, '..data', 'master.key'), root)).rejects.toThrow('lies inside');
  });

  it('that others can read, or of another length, is refused with what to do', async () => {
    await loadMasterKey(file, data);
    await chmod(file, 0o640);
    await expect(loadMasterKey(file, data)).rejects.toThrow('has mode 640, so others can read it: chmod 600');
    await writeFile(file, 'short', { mode: 0o600 });
    await chmod(file, 0o600);
    await expect(loadMasterKey(file, data)).rejects.toThrow('holds 5 bytes, not 32');
  });

  it('shows nothing when it is printed', async () => {
    const key = await loadMasterKey(file, data);
    const bytes = await readFile(file);
    for (const shown of [inspect(key, { depth: 9 }), JSON.stringify(key)]) {
      expect(shown).not.toContain(bytes.toString('hex'));
      expect(shown).not.toContain(bytes.toString('base64'));
    }
  });
});

describe('sealing', () => {
  it('opens only at its own place and only unchanged', async () => {
    const key = await loadMasterKey(file, data);
    const sealed = seal(key, Buffer.from('hunter22'), 'secret/shop/db');
    expect(open(key, sealed, 'secret/shop/db').toString()).toBe('hunter22');
    expect(() => open(key, sealed, 'secret/bank/db')).toThrow('secret/bank/db does not open');
    for (let at = 1; at < sealed.length; at += 1) {
      const changed = Buffer.from(sealed);
      changed[at] = (changed[at] ?? 0) ^ 1;
      expect(() => open(key, changed, 'secret/shop/db')).toThrow('does not open');
    }
    expect(() => open(key, sealed.subarray(0, 20), 'secret/shop/db')).toThrow('is not something Plumbline sealed');
  });

  it('never gives the same bytes twice, and takes nothing at all', async () => {
    const key = await loadMasterKey(file, data);
    expect(seal(key, 'x', 'c').equals(seal(key, 'x', 'c'))).toBe(false);
    expect(open(key, seal(key, '', 'c'), 'c')).toHaveLength(0);
  });

  it('with another key says that the key is another', async () => {
    const sealed = seal(await loadMasterKey(file, data), 'x', 'c');
    const other = await loadMasterKey(`${file}2`, data);
    expect(() => open(other, sealed, 'c')).toThrow('Restore the key file');
  });
});

/** As `seal` was until 0.1: by the master key itself. */
function sealedBefore({ master }: MasterKey, text: string, context: string): Buffer {
  const nonce = randomBytes(12);
  const cipher = createCipheriv('aes-256-gcm', master, nonce);
  cipher.setAAD(Buffer.from(context));
  const body = Buffer.concat([cipher.update(text), cipher.final()]);
  return Buffer.concat([Buffer.from([1]), nonce, cipher.getAuthTag(), body]);
}

describe('another master key', () => {
  it('takes over what was sealed, now and before, without a change of its content', async () => {
    const [from, to] = [await loadMasterKey(file, data), await loadMasterKey(`${file}2`, data)];
    const sealed = seal(from, 'hunter22', 'c');
    const taken = rewrap(from, to, sealed, 'c');
    // The content is the last 28 + 8 bytes.
    expect(taken.subarray(-36).equals(sealed.subarray(-36))).toBe(true);
    expect(open(to, taken, 'c').toString()).toBe('hunter22');
    expect(() => open(from, taken, 'c')).toThrow('does not open');
    const old = sealedBefore(from, 'older', 'c');
    expect(open(from, old, 'c').toString()).toBe('older');
    expect(open(to, rewrap(from, to, old, 'c'), 'c').toString()).toBe('older');
    expect(rewrap(from, to, taken, 'c')).toBe(taken);
    expect([isSealedBy(from, taken, 'c'), isSealedBy(to, taken, 'c'), isSealedBy(to, taken, 'd')]).toEqual([
      false,
      true,
      false,
    ]);
  });

  it('takes over nothing that was changed, moved or sealed by a third one', async () => {
    const [from, to, third] = [
      await loadMasterKey(file, data),
      await loadMasterKey(`${file}2`, data),
      await loadMasterKey(`${file}3`, data),
    ];
    const sealed = seal(from, 'hunter22', 'c');
    expect(() => rewrap(from, to, sealed, 'd')).toThrow('does not open');
    expect(() => rewrap(third, to, sealed, 'c')).toThrow('does not open');
    for (const byte of [5, 40, 70, sealed.length - 1]) {
      const changed = Buffer.from(sealed);
      changed[byte] = (changed[byte] ?? 0) ^ 1;
      expect(() => rewrap(from, to, changed, 'c')).toThrow('does not open');
    }
    expect(() => open(from, Buffer.concat([seal(from, 'x', 'c').subarray(0, 61), sealed.subarray(61)]), 'c')).toThrow(
      'does not open',
    );
  });
});

describe('a tenant key', () => {
  it('gives equal values equal marks, and another tenant other ones', async () => {
    const key = await loadMasterKey(file, data);
    const shop = openTenantKey(key, 'shop', newTenantKey(key, 'shop'));
    const bank = openTenantKey(key, 'bank', newTenantKey(key, 'bank'));
    expect(hmacValue(shop, 'x')).toMatch(/^hmac-sha256:[0-9a-f]{64}$/);
    expect(hmacValue(shop, 'x')).toBe(hmacValue(shop, 'x'));
    expect(hmacValue(shop, 'x')).not.toBe(hmacValue(shop, 'y'));
    expect(hmacValue(shop, 'x')).not.toBe(hmacValue(bank, 'x'));
  });
});

it('passphrases are 256 random bits', () => {
  expect(newPassphrase()).toMatch(/^[A-Za-z0-9_-]{43}$/);
  expect(newPassphrase()).not.toBe(newPassphrase());
});
