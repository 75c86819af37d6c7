/** What a hostile program tries. Each attempt resolves to what it got, or to an empty text when it got nothing. */
import { spawnSync } from 'node:child_process';
import {
  appendFileSync,
  openSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';

/** Where the treasures are; a real attacker would guess. */
export interface Targets {
  /** Texts nobody may see, in base64: the config they come by is no leak. */
  encoded: string[];
  /** Files and folders of others. */
  files: string[];
  /** Folders that later runs execute from. */
  caches: string[];
  /** Ports of the worker. */
  ports: number[];
  /** A port the installation has opened, `host:port`. */
  open: string;
  /** An argument of sleep(1) by which the test finds a daemon. */
  marker: string;
}

type Attempt = (targets: Targets) => string | Promise<string>;

const MILLISECONDS = 3_000;

function attempt(action: () => string): string {
  try {
    return action();
  } catch {
    return '';
  }
}

function pids(): string[] {
  return readdirSync('/proc').filter((name) => /^\d+$/.test(name) && name !== String(process.pid));
}

function capabilities(pid: string): string {
  return /CapPrm:\s+(\w+)/.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '';
}

/** Processes that run other code than the program's: the engine, its hosts and the guardian. */
function others(): string[] {
  const own = capabilities('self');
  return pids().filter((pid) => attempt(() => capabilities(pid)) !== own);
}

function found(text: string, encoded: string[]): string {
  return encoded
    .map((secret) => Buffer.from(secret, 'base64').toString())
    .filter((secret) => text.includes(secret))
    .join(' ');
}

function ofOthers(read: (pid: string) => string): string {
  return others()
    .map((pid) => attempt(() => read(pid) && `${pid} (${readFileSync(`/proc/${pid}/comm`, 'utf8').trim()})`))
    .join('');
}

function shell(script: string): string {
  const done = spawnSync('/bin/sh', ['-c', script], { encoding: 'utf8', timeout: MILLISECONDS });
  return done.status === 0 ? done.stdout || 'done' : '';
}

/** Connects, says what the protocol wants first, and returns what is answered. */
function talk(host: string, port: number, says: string): Promise<string> {
  return new Promise((resolve) => {
    const socket = connect({ host, port });
    let answer = '';
    const end = () => {
      socket.destroy();
      resolve(answer);
    };
    socket.setTimeout(MILLISECONDS, end);
    socket.on('connect', () => socket.write(says));
    socket.on('data', (bytes: Buffer) => {
      answer += bytes.toString('latin1');
      end();
    });
    socket.on('error', end).on('close', end);
  });
}

async function first(talks: Promise<string>[]): Promise<string> {
  return (await Promise.all(talks)).filter((answer) => answer !== '').join('\n');
}

/** Asks the proxy for a tunnel; the status line when it is one. */
async function tunnel(target: string): Promise<string> {
  const answer = await talk('127.0.0.1', 3128, `CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`);
  return answer.startsWith('HTTP/1.1 200') ? `${target}: ${answer}` : '';
}

const METADATA = ['169.254.169.254', 'fd00:ec2::254', '169.254.170.2', '100.100.100.200'];

export const ATTEMPTS: Record<string, Attempt> = {
  'a secret of the engine in its own environment': ({ encoded }) => found(JSON.stringify(process.env), encoded),
  'a variable of the worker': () =>
    Object.keys(process.env)
      .filter((name) => /^(PLUMBLINE|DATABASE|REDIS|PULUMI_(CONFIG_PASSPHRASE|BACKEND|ACCESS)|VITEST)/.test(name))
      .join(' '),
  'a secret in the first environment of its process': ({ encoded }) =>
    found(readFileSync('/proc/self/environ', 'utf8'), encoded),
  'the environment of the engine, its hosts or its guardian': () =>
    ofOthers((pid) => readFileSync(`/proc/${pid}/environ`, 'utf8')),
  'the memory of the engine or its guardian': () => ofOthers((pid) => String(openSync(`/proc/${pid}/mem`, 'r+'))),
  'the files the engine has open': () => ofOthers((pid) => readlinkSync(`/proc/${pid}/fd/0`)),
  'the folders of the guardian or the engine': () => ofOthers((pid) => readdirSync(`/proc/${pid}/root/`).join(' ')),
  'a secret on a command line': ({ encoded }) =>
    pids()
      .map((pid) => attempt(() => found(readFileSync(`/proc/${pid}/cmdline`, 'utf8'), encoded)))
      .join(''),
  'the trace of another process': () => ofOthers((pid) => shell(`perl -e 'exit(syscall(101, 16, ${pid}, 0, 0) != 0)'`)),
  'a process outside its run': () => (pids().length > 12 ? pids().join(' ') : ''),
  'a file of another run, of the worker or of its keys': ({ files }) =>
    files
      .map((path) => attempt(() => readFileSync(path, 'utf8')) || attempt(() => readdirSync(path).join(' ')))
      .join(''),
  'the files of others through a link': ({ files }) =>
    files.map((path, index) => {
      const link = join(process.env['TMPDIR'] ?? '', `link-${index}`);
      return attempt(() => (symlinkSync(path, link), readFileSync(link, 'utf8')));
    }).join(''), // prettier-ignore
  'a password of the machine': () => attempt(() => readFileSync('/etc/shadow', 'utf8')),
  'a place in a cache that later runs use': ({ caches }) =>
    caches.filter((folder) => attempt(() => (writeFileSync(join(folder, 'evil'), ''), 'written')) !== '').join(' '),
  'another content of a file that later runs use': ({ caches }) =>
    caches
      .filter((folder) => {
        const name = readdirSync(folder)[0] ?? '';
        return attempt(() => (appendFileSync(join(folder, name), ''), 'opened')) || attempt(() => (rmSync(join(folder, name), { recursive: true }), 'gone'));
      })
      .join(' '), // prettier-ignore
  'the settings of the machine': () =>
    attempt(() => (writeFileSync('/proc/sys/kernel/core_pattern', '|/tmp/evil'), 'written')),
  'a user namespace, or a mount': () =>
    shell('unshare --user true') ||
    shell('unshare --mount true') ||
    shell('mount -t tmpfs none /tmp') ||
    shell('umount -l /proc'),
  'a capability that means something': () =>
    ['CapPrm', 'CapEff', 'CapBnd', 'CapAmb']
      .map((name) =>
        attempt(() => new RegExp(`${name}:\\s+(\\w+)`).exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? ''),
      )
      // CAP_BLOCK_SUSPEND, which only the first user namespace could use.
      .filter((set) => set !== '0000000000000000' && set !== '0000001000000000')
      .join(' '),
  'the end of its guardian': () => {
    shell('kill -STOP 1; kill -USR1 1; kill -INT 1; kill -KILL 1');
    return shell('test -d /proc/1') === '' ? 'ended' : '';
  },
  'a port of the worker': ({ ports }) =>
    first(['127.0.0.1', '::1', 'localhost'].flatMap((host) => ports.map((port) => talk(host, port, 'PING\r\n')))),
  'a port of the worker through the proxy': ({ ports }) =>
    first(
      ports.flatMap((port) =>
        [`127.0.0.1:${port}`, `localhost:${port}`, `127.1:${port}`, `2130706433:${port}`, `[::1]:${port}`, `[::ffff:127.0.0.1]:${port}`, `0.0.0.0:${port}`]
          .map(tunnel),
      ),
    ), // prettier-ignore
  'a port of the worker by a plain request': ({ ports }) =>
    first(
      ports.map(async (port) => {
        const answer = await talk('127.0.0.1', 3128, `GET http://127.0.0.1:${port}/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`);
        return answer.startsWith('HTTP/1.1 403') ? '' : answer;
      }),
    ), // prettier-ignore
  'the metadata address of the cloud': () => first(METADATA.map((host) => talk(host, 80, 'GET / HTTP/1.0\r\n\r\n'))),
  'the metadata address through the proxy': () =>
    first(
      [...METADATA.map((host) => (host.includes(':') ? `[${host}]` : host)), 'metadata.google.internal', '[::ffff:169.254.169.254]', '2852039166']
        .map((host) => tunnel(`${host}:80`)),
    ), // prettier-ignore
  'a host nobody allowed': () =>
    first([talk('192.0.2.1', 53, ''), tunnel('192.0.2.1:443'), tunnel('evil.example:443')]),
};

/** Not an attempt: shows that the proxy does let through what is allowed, or the refusals above would prove nothing. */
export async function reachOpen({ open }: Targets): Promise<string> {
  const [host = '', port = ''] = open.split(':');
  const answer = await talk(
    '127.0.0.1',
    3128,
    `GET http://${host}:${port}/ HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n`,
  );
  return answer.split('\r\n')[0] ?? '';
}

/** Those of others that were there to be attacked: guardian, engine and host at least. */
export function othersSeen(): number {
  return others().length;
}

/** Tries everything. */
export async function tryAll(targets: Targets): Promise<Record<string, string>> {
  const got: Record<string, string> = {};
  for (const [name, act] of Object.entries(ATTEMPTS)) got[name] = await Promise.resolve(act(targets)).catch(() => '');
  return got;
}
