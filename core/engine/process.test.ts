import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ReconcileError, transient } from '../domain/errors.ts';
import { foreignPrefix } from './host/privilege.ts';
import { isNamespaceEmpty } from './namespace.ts';
import { withMarker } from './process-list.fixture.ts';
import { runEngineProcess, type EngineProcessOptions } from './process.ts';

const scratch = mkdtempSync(join(tmpdir(), 'plumb-process-'));
const runDir = join(scratch, 'run');
mkdirSync(runDir);
afterAll(() => rmSync(scratch, { recursive: true, force: true }));

/** An argument of sleep(1) that no other process has. */
function newMarker(): string {
  return `9999.${Math.floor(Math.random() * 1e9)}`;
}

function optionsFor(script: string, overrides: Partial<EngineProcessOptions> = {}): EngineProcessOptions {
  return {
    command: '/bin/bash',
    args: ['-c', script],
    cwd: runDir,
    env: { PATH: '/usr/bin:/bin' },
    runId: 'r1',
    sandbox: { writableDirs: [runDir], readOnlyDirs: [], hiddenDirs: [] },
    guard: { started: async () => undefined, ended: async () => undefined, remainingMs: () => 30_000 },
    timeoutMs: 30_000,
    signal: new AbortController().signal,
    maxOutputBytes: 100_000,
    onOutput: () => undefined,
    isolation: 'namespaces',
    graceMs: [300, 300],
    ...overrides,
  };
}

function run(script: string, overrides: Partial<EngineProcessOptions> = {}) {
  return runEngineProcess(optionsFor(script, overrides));
}

const ISOLATIONS = process.platform === 'linux' ? (['namespaces', 'none'] as const) : (['none'] as const);

describe.each(ISOLATIONS)('an engine process with isolation %s', { timeout: 30_000 }, (isolation) => {
  it('gives its exit code and both streams', async () => {
    expect(await run('echo out; echo err >&2; exit 3', { isolation })).toEqual({
      code: 3,
      signal: undefined,
      stdout: 'out\n',
      stderr: 'err\n',
      truncated: false,
    });
  });

  it('that dies of a signal says which', async () => {
    expect(await run('kill -SEGV $$', { isolation })).toMatchObject({ code: 139, signal: 'SIGSEGV' });
  });

  it('sees the environment it was given and nothing else', async () => {
    const { stdout } = await run('env -0', { isolation, command: '/usr/bin/env', args: [], env: { A: 'b' } });
    expect(stdout).toBe('A=b\n');
  });

  it('that prints 100 MB keeps its head and its end', async () => {
    const pieces: string[] = [];
    const script = 'echo first; head -c 100000000 /dev/zero | tr "\\0" x; echo last';
    const result = await run(script, { isolation, maxOutputBytes: 10_000, onOutput: (text) => pieces.push(text) });
    expect(result).toMatchObject({
      truncated: true,
      stdout: expect.stringMatching(/^first\nx+\n… \d+ bytes dropped …\nx+last\n$/),
    });
    expect(result.stdout.length).toBeLessThan(10_000);
    expect(pieces.join('')).toBe(result.stdout);
  });

  it('is stopped at its time limit though it ignores every signal', async () => {
    const marker = newMarker();
    const attempt = run(`trap '' INT TERM; echo started; sleep ${marker}; sleep ${marker}`, {
      isolation,
      timeoutMs: 300,
    });
    await expect(attempt).rejects.toMatchObject({ reason: 'TimedOut', cause: { stdout: 'started\n' } });
    expect(withMarker(marker)).toEqual([]);
  });

  it('is asked twice before it is killed', async () => {
    const script = 'trap "echo asked" INT; while true; do sleep 0.05; done';
    await expect(run(script, { isolation, timeoutMs: 500 })).rejects.toMatchObject({
      cause: { stdout: 'asked\nasked\n' },
    });
  });

  it('that ends well while it is being stopped has ended well', async () => {
    const result = await run('trap "echo saved; exit 0" INT; while true; do sleep 0.05; done', {
      isolation,
      timeoutMs: 500,
    });
    expect(result).toMatchObject({ code: 0, stdout: 'saved\n' });
  });

  it('is stopped by an abort, and the reason is told', async () => {
    const controller = new AbortController();
    const attempt = run('sleep 30', { isolation, signal: controller.signal });
    setTimeout(() => controller.abort(transient('Canceled', 'a person canceled the run')), 300);
    await expect(attempt).rejects.toMatchObject({ reason: 'Canceled' });
  });

  it('is not started when it is aborted before', async () => {
    const started: unknown[] = [];
    const guard = {
      started: async () => void started.push(1),
      ended: async () => undefined,
      remainingMs: () => 30_000,
    };
    await expect(run('true', { isolation, guard, signal: AbortSignal.abort() })).rejects.toMatchObject({
      reason: 'Interrupted',
    });
    expect(started).toEqual([]);
  });

  it('is not started when the lease cannot record it', async () => {
    const lost = new ReconcileError({ kind: 'transient', reason: 'LeaseLost', message: 'lost' });
    const guard = { started: () => Promise.reject(lost), ended: async () => undefined, remainingMs: () => 30_000 };
    await expect(run(`touch ${isolation}`, { isolation, guard })).rejects.toBe(lost);
    await expect(run(`test -e ${isolation}`, { isolation })).resolves.toMatchObject({ code: 1 });
  });

  it('is killed when the lease is not renewed', async () => {
    const marker = newMarker();
    const end = performance.now() + 700;
    const guard = {
      started: async () => undefined,
      ended: async () => undefined,
      remainingMs: () => end - performance.now(),
    };
    await expect(run(`sleep ${marker} & sleep ${marker}`, { isolation, guard })).rejects.toMatchObject({
      reason: expect.stringMatching(/^(LeaseLost|Interrupted)$/),
    });
    expect(withMarker(marker)).toEqual([]);
  });

  it('takes what it left in the background with it', async () => {
    const marker = newMarker();
    expect(await run(`sleep ${marker} & echo done`, { isolation })).toMatchObject({ code: 0, stdout: 'done\n' });
    expect(withMarker(marker)).toEqual([]);
  });
});

const MIB = 1024 ** 2;
const HOG = 'const kept = []; setInterval(() => kept.push(Buffer.alloc(20 * 1024 ** 2, 1)), 20)';

describe.skipIf(process.platform !== 'linux')('a limit', { timeout: 30_000 }, () => {
  const limits = { memoryBytes: 200 * MIB, processes: 40, fileBytes: MIB };
  const node = {
    command: process.execPath,
    sandbox: { writableDirs: [runDir], readOnlyDirs: [process.execPath], hiddenDirs: [] },
  };
  const hogs = (programs: string[]) => ({ ...node, limits, args: ['-e', programs.join(';')] });

  it('of memory stops the run politely, and says what it used and what to raise', async () => {
    const polite = `process.on('SIGINT', () => { console.log('saved'); process.exit(1) })`;
    await expect(run('', { ...hogs([polite, HOG.replace('20)', '200)')]) })).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'MemoryExceeded',
      message: expect.stringMatching(/used 2\d\d MiB of memory together and may use 200\. .*spec\.limits\.memoryMb/),
      cause: { stdout: 'saved\n' },
    });
  });

  it('of memory that is far exceeded kills at once what does not obey', async () => {
    const deaf = `process.on('SIGINT', () => undefined)`;
    const start = performance.now();
    await expect(run('', { ...hogs([deaf, HOG]), graceMs: [20_000, 20_000] })).rejects.toMatchObject({
      reason: 'MemoryExceeded',
    });
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  it('of memory counts all processes together, and what they share once', async () => {
    const child = `require('node:child_process').spawn(process.execPath, ['-e', 'setTimeout(() => {}, 1500)'], { stdio: 'inherit' })`;
    // Three of Node.js: each maps the same hundred megabytes of program.
    const result = await run('', { ...hogs([child, child, `setTimeout(() => console.log('well'), 900)`]) });
    expect(result).toMatchObject({ code: 0, stdout: 'well\n' });
  });

  it('of processes stops a fork bomb, and the next run is well', async () => {
    const bomb = 'bomb() { bomb | bomb & }; bomb; wait; sleep 5';
    await expect(run(bomb, { limits })).rejects.toMatchObject({
      kind: 'stalled',
      reason: 'ProcessesExceeded',
      message: expect.stringMatching(/it had \d+ processes and may have 40\. .*spec\.limits\.processes/),
    });
    expect(await run('echo well', { limits })).toMatchObject({ code: 0, stdout: 'well\n' });
  });

  it('of a file ends who writes more', async () => {
    const result = await run('head -c 3000000 /dev/zero > big; echo $?; stat -c %s big', { limits });
    expect(result.stdout).toBe(`${128 + 25}\n${MIB}\n`);
  });

  it('that is not reached changes nothing', async () => {
    expect(await run('for i in $(seq 30); do sleep 0.3 & done; wait; echo well', { limits })).toMatchObject({
      stdout: 'well\n',
    });
  });

  it('makes the run the first the kernel ends when the memory of the machine is gone', async () => {
    expect(await run('cat /proc/self/oom_score_adj')).toMatchObject({ stdout: '800\n' });
  });
});

describe.skipIf(process.platform !== 'linux')('an engine process in namespaces', { timeout: 30_000 }, () => {
  it('takes its daemons with it, and says so only when they are gone', async () => {
    const marker = newMarker();
    const calls: string[] = [];
    const guard = {
      started: async (inode: string | undefined) => void calls.push(`started ${inode}`),
      ended: async () => void calls.push(`ended with ${withMarker(marker).length}`),
      remainingMs: () => 30_000,
    };
    const daemons = `setsid sleep ${marker} & env -i setsid -f sleep ${marker}; (setsid nohup sleep ${marker} &) ; sleep 0.2`;
    expect(await run(daemons, { guard })).toMatchObject({ code: 0 });
    expect(calls).toEqual([expect.stringMatching(/^started \d+$/), 'ended with 0']);
    expect(await isNamespaceEmpty(calls[0]?.split(' ')[1] ?? '')).toBe(true);
  });

  it('that forks a lot is gone at its time limit with all of it', async () => {
    const marker = newMarker();
    const script = `for i in $(seq 300); do sleep ${marker} & done; wait`;
    await expect(run(script, { timeoutMs: 1_500 })).rejects.toMatchObject({ reason: 'TimedOut' });
    expect(withMarker(marker)).toEqual([]);
  });

  it('is seen in its namespace from outside while it lives', async () => {
    let empty: boolean | undefined;
    const guard = {
      started: async (inode: string | undefined) => {
        empty = await isNamespaceEmpty(inode ?? '');
      },
      ended: async () => undefined,
      remainingMs: () => 30_000,
    };
    await run('true', { guard });
    expect(empty).toBe(false);
  });

  it('has a host name of its own', async () => {
    expect(await run('hostname')).toMatchObject({ stdout: 'plumb-r1\n' });
  });

  it('shows no environment value on any command line, nor to its guardian', async () => {
    const secret = `s3cr3t-${newMarker()}`;
    const running = run('sleep 0.7', { env: { PATH: '/usr/bin:/bin', PASSWORD: secret } });
    await delay(500);
    const [shown, environments] = [withMarker(secret), withMarker(secret, 'environ')];
    await running;
    expect(shown).toEqual([]);
    // The shell and its sleep, which are the run itself.
    expect(environments.length).toBeLessThanOrEqual(2);
  });

  it('that cannot be found in the sandbox is a clear error', async () => {
    await expect(run('', { command: '/nowhere/pulumi' })).rejects.toThrow(/could not be started: .*\/nowhere\/pulumi/);
  });
});

describe.skipIf(process.platform !== 'linux')('a run in a network of its own', { timeout: 30_000 }, () => {
  /** Stands for the worker's proxy: says yes to `open.example`, and what it was asked. */
  async function startProxy() {
    const path = join(runDir, `proxy-${Math.floor(Math.random() * 1e6)}`);
    const asked: string[] = [];
    const server = createServer((socket) => {
      socket
        .on('error', () => undefined)
        .once('data', (bytes) => {
          const [line = ''] = String(bytes).split('\r\n');
          asked.push(line);
          socket.end(
            line.includes('open.example') ? 'HTTP/1.1 200 yes\r\n\r\nthe answer\n' : 'HTTP/1.1 403 no\r\n\r\n',
          );
        });
    });
    await new Promise<void>((resolve) => server.listen(path, resolve));
    const direct = [
      { host: 'open.example', port: 5432, address: '127.77.0.1' },
      { host: '10.1.2.3', port: 5432, address: '10.1.2.3' },
    ];
    return {
      asked,
      network: { proxyPort: 3128, proxyPath: path, direct, metadata: true },
      close: () => server.close(),
    };
  }
  const read = (host: string, port: number) =>
    `{ exec 3<>/dev/tcp/${host}/${port} && printf 'GET x HTTP/1.1\r\n\r\n' >&3 && cat <&3; } 2>/dev/null`;

  it('has a loopback of its own and no way out but the proxy, direct hosts by their names, and metadata where granted', async () => {
    const proxy = await startProxy();
    const outside = createServer((socket) => socket.end('the worker'));
    await new Promise<void>((resolve) => outside.listen(0, '127.0.0.1', resolve));
    const address = outside.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const attempts = [
      read('127.0.0.1', port),
      read('93.184.216.34', 443),
      read('open.example', 5432),
      read('10.1.2.3', 5432),
      read('metadata.google.internal', 80),
      read('169.254.170.2', 80),
      read('127.0.0.1', 3128),
    ];
    const script = attempts.map((attempt, index) => `echo "${index}: $(${attempt})"`).join('\n');
    const { stdout } = await run(script, { network: proxy.network });
    outside.close();
    proxy.close();
    const lines = stdout
      .replaceAll('\r', '')
      .split(/\n(?=\d: )/)
      .map((line) => line.trim());
    expect(lines).toEqual(['0:', '1:', '2: the answer', '3:', '4:', '5:', '6: HTTP/1.1 403 no']);
    expect(proxy.asked).toEqual([
      'CONNECT open.example:5432 HTTP/1.1',
      'CONNECT 10.1.2.3:5432 HTTP/1.1',
      'CONNECT 169.254.169.254:80 HTTP/1.1',
      'CONNECT 169.254.170.2:80 HTTP/1.1',
      'GET x HTTP/1.1',
    ]);
  });

  it('cannot change it', async () => {
    const proxy = await startProxy();
    const attempts =
      'ip link set lo down || ip addr add 192.0.2.9/32 dev lo || ip route add default dev lo || unshare --net true';
    expect(await run(`(${attempts}) 2>/dev/null; echo $?`, { network: proxy.network })).toMatchObject({
      stdout: expect.not.stringMatching(/^0/),
    });
    proxy.close();
  });
});

const hidden = join(scratch, 'shown', 'hidden');
mkdirSync(hidden, { recursive: true });
writeFileSync(join(hidden, 'key'), 'secret');
const sandbox = { writableDirs: [runDir], readOnlyDirs: [join(scratch, 'shown')], hiddenDirs: [hidden] };

const ROLES = ['program', 'pack', 'bundled'] as const;

describe.skipIf(process.platform !== 'linux')('a program in the sandbox', { timeout: 30_000 }, () => {
  const ATTEMPTS = {
    'read a hidden folder': `cat ${hidden}/key`,
    'see a folder that is not shown': 'ls /root || ls /home || ls /run || ls /var',
    'read password hashes of the machine': 'cat /etc/shadow',
    'write to the checkout': `touch ${scratch}/shown/x`,
    'write to the system': 'touch /usr/x || touch /etc/x || touch /x',
    'unmount what hides a folder': `umount ${hidden} || umount -l ${hidden}`,
    'mount anything': 'mount -t tmpfs x /tmp',
    'make a user namespace of its own': 'unshare --user true',
    'make a device': 'mknod x b 254 0',
    'set what the kernel runs at a crash': 'echo x > /proc/sys/kernel/core_pattern',
    'allow itself user namespaces again': 'echo 9 > /proc/sys/user/max_user_namespaces',
    'open the disk': 'ls /dev/vda || ls /dev/sda || ls /dev/nvme0n1 || ls /dev/mem',
    'read the environment of its guardian': 'cat /proc/1/environ',
    'see other processes': 'test $(ls -d /proc/[0-9]* | wc -l) -gt 8',
    // The engine's guards keep programs from looking into it, and mean nothing in a user namespace (host/privilege.ts).
    'have a capability but its guards': 'grep Cap /proc/self/status | grep -vE "000000(00|38)00000000"',
    'have the engine look into its guardian': 'cat /proc/1/maps',
    ...Object.fromEntries(
      ROLES.flatMap((role): (readonly [string, string])[] => {
        const as = foreignPrefix(role).join(' ');
        const others = ROLES.filter((other) => other !== role);
        const look =
          'cat /proc/$PPID/environ || cat /proc/$PPID/maps || readlink /proc/$PPID/fd/1 || ls /proc/$PPID/cwd/ || ls /proc/$PPID/root/ || head -c 1 /proc/$PPID/mem';
        return [
          [`look into the engine as a ${role} of it`, `${as} sh -c '${look}'`],
          ...others.map((other): readonly [string, string] => [
            `look into the ${other} of the run as a ${role}`,
            `${foreignPrefix(other).join(' ')} sleep 1 & pid=$!; sleep 0.2; ${as} cat /proc/$pid/environ`,
          ]),
          [`get the capability back as a ${role}`, `${as} sh -c 'grep CapPrm /proc/self/status | grep 38'`],
        ];
      }),
    ),
    'reach the descriptors, root or memory of its guardian':
      'readlink /proc/1/fd/* || ls /proc/1/root/ || head -c 1 /proc/1/mem',
  };
  let succeeded: string[] = ['nothing was tried'];

  beforeAll(async () => {
    const script = Object.entries({ ...ATTEMPTS, nothing: 'true' }).map(
      ([name, attempt]) => `if { ${attempt}; } >/dev/null 2>&1; then echo '${name}'; fi`,
    );
    const { stdout } = await run(script.join('\n'), { sandbox });
    succeeded = stdout.trim().split('\n');
  });

  it.each(Object.keys(ATTEMPTS))('cannot %s', (name) => {
    expect(succeeded).toContain('nothing');
    expect(succeeded).not.toContain(name);
  });

  it('can write to its run folder, /tmp and /dev/null, and read what is shown', async () => {
    const script = `echo a > ${runDir}/a && echo b > /tmp/b && echo c > /dev/null && ls ${scratch}/shown && cat ${runDir}/a`;
    expect(await run(script, { sandbox })).toMatchObject({ code: 0, stdout: 'hidden\na\n', stderr: '' });
  });

  it('cannot kill or debug its guardian', async () => {
    const listening = 'grep -c :2405 /proc/net/tcp';
    const script = `before=$(${listening}); kill -9 1; kill -STOP 1; kill -USR1 1; sleep 0.3; test "$before" = "$(${listening})" && echo alive`;
    expect(await run(script, { sandbox })).toMatchObject({ code: 0, stdout: 'alive\n' });
  });

  it('finds a shown folder below a hidden one', async () => {
    mkdirSync(join(hidden, 'back'), { recursive: true });
    writeFileSync(join(hidden, 'back', 'file'), 'here');
    const nested = { ...sandbox, readOnlyDirs: [...sandbox.readOnlyDirs, join(hidden, 'back')] };
    expect(await run(`cat ${hidden}/back/file; ls ${hidden}`, { sandbox: nested })).toMatchObject({
      stdout: 'hereback\n',
    });
  });

  it('is not started when a folder to show is missing', async () => {
    const missing = { ...sandbox, readOnlyDirs: ['/nowhere'] };
    await expect(run('true', { sandbox: missing })).rejects.toMatchObject({
      reason: 'IsolationUnavailable',
      message: expect.stringMatching(/\/nowhere, which does not exist/),
    });
  });
});
