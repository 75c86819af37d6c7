import { describe, expect, it } from 'vitest';
import { buildScript, layout, sealScript, type Probe, type Sandbox } from './sandbox.ts';

const folders: Probe = (path) => (path.endsWith('.pem') ? 'file' : path.includes('missing') ? 'missing' : 'folder');
const nothing: Sandbox = { writableDirs: [], readOnlyDirs: [], hiddenDirs: [] };

function shown(sandbox: Partial<Sandbox>): string[] {
  return layout(['/usr'], { ...nothing, ...sandbox }, folders).map(({ path, access }) => `${access} ${path}`);
}

describe('the layout of a sandbox', () => {
  it.each([
    ['holds the system alone when nothing is named', {}, ['read /usr']],
    [
      'mounts parents before what lies in them',
      { writableDirs: ['/a/b/run'], readOnlyDirs: ['/a'] },
      ['read /a', 'read /usr', 'write /a/b/run'],
    ],
    ['leaves out what is shown already', { readOnlyDirs: ['/a', '/a/b', '/usr/lib/x'] }, ['read /a', 'read /usr']],
    ['leaves out what is hidden already', { hiddenDirs: ['/data', '/data/x'] }, ['read /usr']],
    [
      'hides a part of what is shown',
      { readOnlyDirs: ['/a'], hiddenDirs: ['/a/data'] },
      ['read /a', 'read /usr', 'hidden /a/data'],
    ],
    [
      'shows a part of what is hidden',
      { readOnlyDirs: ['/a', '/a/data/x'], hiddenDirs: ['/a/data'] },
      ['read /a', 'read /usr', 'hidden /a/data', 'read /a/data/x'],
    ],
    ['does not take a longer name for a child', { readOnlyDirs: ['/a', '/ab'] }, ['read /a', 'read /ab', 'read /usr']],
    [
      'lets writable win over hidden and read-only',
      { writableDirs: ['/a'], readOnlyDirs: ['/a'], hiddenDirs: ['/a'] },
      ['write /a', 'read /usr'],
    ],
    ['needs no hidden folder to exist', { readOnlyDirs: ['/a'], hiddenDirs: ['/a/missing'] }, ['read /a', 'read /usr']],
  ])('%s', (_, sandbox, expected) => {
    expect(shown(sandbox)).toEqual(expected);
  });

  it('refuses a folder that does not exist and names it', () => {
    expect(() => shown({ writableDirs: ['/missing'] })).toThrow(/\/missing, which does not exist/);
  });
});

describe('the scripts of a sandbox', () => {
  it('quote every path', () => {
    const entries = layout([], { ...nothing, readOnlyDirs: [`/a b'$(id)`] }, folders);
    expect(buildScript('/base', entries, folders)).toContain(`mount --rbind '/a b'\\''$(id)' '/base/a b'\\''$(id)'`);
  });

  it('show a single file by an empty file it is mounted on', () => {
    const script = buildScript('/base', layout([], { ...nothing, readOnlyDirs: ['/x/ca.pem'] }, folders), folders);
    expect(script).toContain(`: > '/base/x/ca.pem'\nmount --bind '/x/ca.pem' '/base/x/ca.pem'`);
  });

  it('make every mount read-only that is not below a writable folder, and keep its locked flags', () => {
    const entries = layout([], { ...nothing, readOnlyDirs: ['/a'], writableDirs: ['/a/run'] }, folders);
    const line = (path: string, options: string) => `1 2 0:1 / ${path} ${options} - ext4 /dev/x rw`;
    const mounts = [
      line('/base', 'rw'),
      line('/base/a', 'rw,noexec,relatime'),
      line('/base/a/with\\040space', 'rw'),
      line('/base/a/run', 'rw'),
      line('/other', 'rw'),
    ];
    const remounts = sealScript('/base', entries, mounts.join('\n'))
      .split('\n')
      .filter((command) => command.includes('/base/'));
    expect(remounts.slice(0, -1)).toEqual([
      `mount -o remount,bind,ro,nosuid,nodev,noexec,relatime '/base/a'`,
      `mount -o remount,bind,ro,nosuid,nodev '/base/a/with space'`,
    ]);
  });
});
