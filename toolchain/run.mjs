/**
 * `node toolchain/run.mjs script.ts [arguments]`: makes `node_modules` match the lock file, finds a Node.js that is new
 * enough, and runs the script on it. Plain JavaScript with built-ins only, because it must run on Node 20.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { mkdir, open, readFile, rm } from 'node:fs/promises';
import { constants } from 'node:os';
import { delimiter, dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { setTimeout as delay } from 'node:timers/promises';
import { consoleProgress, step } from './progress.mjs';

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const needed = [24, 15];
const installLimitMs = 15 * 60_000;
const repeatMs = 500;

/** An error whose message is all the user needs. */
class Refusal extends Error {}

async function main([script, ...args]) {
  if (script === undefined) throw new Refusal('usage: node toolchain/run.mjs <script.ts> [arguments]');
  await ensureDependencies();
  const node = findNode();
  const inRoot = join(root, script);
  process.exitCode = await runScript(node, [existsSync(inRoot) ? inRoot : resolve(script), ...args]);
}

async function ensureDependencies() {
  if (await dependenciesMatch()) return;
  await withInstallLock(async () => {
    if (await dependenciesMatch()) return;
    await step('Installing the npm dependencies', consoleProgress(), installDependencies);
  });
}

/** npm itself notes what it installed in `node_modules/.package-lock.json`, as its last act. */
async function dependenciesMatch() {
  const wanted = await readPackages(join(root, 'package-lock.json'));
  const present = await readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (wanted === undefined) throw new Refusal(`${root} has no package-lock.json: clone the repository again`);
  if (present === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '' || entry.link === true) return true;
    const found = present[path];
    return found === undefined ? entry.optional === true : found.integrity === entry.integrity;
  });
}

async function readPackages(file) {
  const text = await readFile(file, 'utf8').catch(() => undefined);
  return text === undefined ? undefined : JSON.parse(text).packages;
}

async function installDependencies() {
  const npm = process.env.npm_execpath?.endsWith('npm-cli.js') ? [process.execPath, process.env.npm_execpath] : ['npm'];
  const [command, ...first] = npm;
  const args = [...first, 'ci', '--ignore-scripts', '--loglevel=error', '--no-audit', '--no-fund'];
  const child = spawn(command, args, { cwd: root, stdio: ['ignore', 'ignore', 'pipe'] });
  let said = '';
  child.stderr.on('data', (data) => (said = (said + data).slice(0, 4000)));
  const code = await new Promise((done, fail) => child.once('close', done).once('error', fail)).catch((error) => {
    throw new Refusal(`npm could not be run (${error.message}): install npm, which comes with Node.js`);
  });
  if (code !== 0) throw new Refusal(`npm ci failed; what it said:\n${said.trim().split('\n').slice(0, 12).join('\n')}`);
}

/** Two starts at once must not install into the same folder; a lock whose holder is dead is taken over. */
async function withInstallLock(work) {
  const path = join(root, '.plumbline', 'install.lock');
  await mkdir(dirname(path), { recursive: true });
  const end = performance.now() + installLimitMs;
  while (!(await takeLock(path))) {
    const holder = Number(await readFile(path, 'utf8').catch(() => ''));
    if (holder > 0 && !isAlive(holder)) await rm(path, { force: true });
    if (performance.now() > end)
      throw new Refusal(`Process ${holder} has been installing for 15 minutes: end it, then try again`);
    await delay(200);
  }
  try {
    await work();
  } finally {
    await rm(path, { force: true });
  }
}

async function takeLock(path) {
  const file = await open(path, 'wx').catch((error) => {
    if (error.code === 'EEXIST') return undefined;
    throw error;
  });
  await file?.writeFile(String(process.pid));
  await file?.close();
  return file !== undefined;
}

function isAlive(pid) {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return error.code === 'EPERM';
  }
}

function findNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  if (major > needed[0] || (major === needed[0] && minor >= needed[1])) return process.execPath;
  const name = `node-${process.platform}-${process.arch}`;
  const packaged = join(root, 'node_modules', name, 'bin', 'node');
  if (existsSync(packaged)) return packaged;
  throw new Refusal(
    `Plumbline needs Node.js ${needed.join('.')} or newer; this is ${process.versions.node}, and there is no npm package ${name}: install Node.js 24`,
  );
}

/**
 * Runs the script in a process group of its own and hands signals on: a terminal's Ctrl-C reaches this process from the
 * terminal and again from npm, the script must see it once.
 */
async function runScript(node, args) {
  const path = [dirname(node), join(root, 'node_modules', '.bin'), process.env.PATH ?? ''].join(delimiter);
  // The channel is only there to be cut: what runs for long ends when we are gone (toolchain/end-with-parent.ts).
  const stdio = ['inherit', 'inherit', 'inherit', 'ipc'];
  const child = spawn(node, args, { stdio, detached: true, env: { ...process.env, PATH: path } });
  const lastMs = new Map();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) {
    process.on(signal, () => {
      const nowMs = performance.now();
      if (nowMs - (lastMs.get(signal) ?? -Infinity) > repeatMs) handOn(child, signal);
      lastMs.set(signal, nowMs);
    });
  }
  return await new Promise((done, fail) => {
    child.once('exit', (code, signal) => done(code ?? 128 + (constants.signals[signal] ?? 0)));
    child.once('error', (error) =>
      fail(new Refusal(`${node} does not run on this machine (${error.message}): install Node.js 24`)),
    );
  });
}

/** Ctrl-C goes to the whole group, as from a terminal, so that a compiler or an installer at work ends too. */
function handOn(child, signal) {
  if (signal !== 'SIGINT') return child.kill(signal);
  try {
    return process.kill(-child.pid, signal);
  } catch {
    return child.kill(signal);
  }
}

main(process.argv.slice(2)).catch((error) => {
  process.stderr.write(`${error instanceof Refusal ? error.message : error.stack}\n`);
  process.exitCode = 1;
});
