import { spawn, type ChildProcess } from 'node:child_process';
import { realpathSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { status, type ServerWritableStream } from '@grpc/grpc-js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import type * as languageTypes from '@pulumi/pulumi/proto/language_pb.js';
import { BUNDLED, OVERRIDES_VARIABLE, readOverrides } from './policy-overrides.ts';
import { servePolicyRelay } from './policy-relay.ts';
import { packEnvironment } from './private-variables.ts';
import { foreignPrefix, type Role } from './privilege.ts';
import { resolveSdk } from './sdk.ts';

type Call = ServerWritableStream<languageTypes.RunPluginRequest, languageTypes.RunPluginResponse>;

/** A pack in TypeScript is compiled first. */
const START_LIMIT_MS = 60_000;
/** The first line of a pack is a port number; what comes before it is no pack. */
const MAX_FIRST_LINE = 64 * 1024;

function output(field: 'stdout' | 'stderr', bytes: Buffer) {
  const response = new language.RunPluginResponse();
  if (field === 'stdout') response.setStdout(bytes);
  else response.setStderr(bytes);
  return response;
}

function end(call: Call, code: number): void {
  const response = new language.RunPluginResponse();
  response.setExitcode(code);
  call.write(response);
  call.end();
}

/** Hands a stream of the pack on, as fast as the engine takes it. */
function pipe(call: Call, field: 'stdout' | 'stderr', stream: NodeJS.ReadableStream): void {
  stream.on('data', (bytes: Buffer) => {
    if (call.write(output(field, bytes))) return;
    stream.pause();
    call.once('drain', () => stream.resume());
  });
}

function firstLine(child: ChildProcess): Promise<{ line: string; rest: Buffer }> {
  return new Promise((resolve, reject) => {
    let read = Buffer.alloc(0);
    const late = setTimeout(
      () => reject(new Error(`it did not load within ${START_LIMIT_MS / 1000} s`)),
      START_LIMIT_MS,
    );
    const take = (bytes: Buffer) => {
      read = Buffer.concat([read, bytes]);
      const at = read.indexOf('\n');
      if (at < 0 && read.length > MAX_FIRST_LINE) reject(new Error('it printed no port'));
      if (at < 0) return;
      clearTimeout(late);
      child.stdout?.off('data', take).pause();
      resolve({ line: read.subarray(0, at).toString(), rest: read.subarray(at + 1) });
    };
    child.stdout?.on('data', take);
    child.once('close', () => {
      clearTimeout(late);
      reject(new Error('it ended before it served its policies'));
    });
  });
}

/** The port the pack serves on; what it printed instead of one is the reason. */
async function portOf(child: ChildProcess): Promise<{ port: number; rest: Buffer }> {
  const { line, rest } = await firstLine(child);
  const port = Number(line.trim());
  if (Number.isInteger(port) && port > 0 && port < 65_536) return { port, rest };
  throw new Error(`it printed ${JSON.stringify(line.slice(0, 200))} where its port is expected`);
}

/**
 * Whose code the pack in a folder is. Programs of the run can call us as the engine does, and must not have what is theirs run
 * as a pack: only what the worker put beside the overrides is one.
 * @throws Error for every other folder
 */
function roleOf(packDir: string): Role {
  const overrides = process.env[OVERRIDES_VARIABLE];
  const dir = resolve(packDir);
  if (overrides === undefined || realpathSync(dirname(dir)) !== realpathSync(dirname(overrides)))
    throw new Error('it is no policy pack of this run');
  return basename(dir).endsWith(BUNDLED) ? 'bundled' : 'pack';
}

function start(request: languageTypes.RunPluginRequest, packDir: string): ChildProcess {
  const runner = resolveSdk(packDir, 'cmd/run-policy-pack');
  const [command, ...args] = [
    ...foreignPrefix(roleOf(packDir)),
    process.execPath,
    runner,
    ...request.getArgsList(),
    packDir,
  ] as const;
  return spawn(command, args, {
    // The SDK reads the pack's version and tsconfig.json there.
    cwd: packDir,
    env: packEnvironment(request.getEnvList()),
    stdio: ['ignore', 'pipe', 'pipe'],
  });
}

async function relay(call: Call, child: ChildProcess, packDir: string): Promise<void> {
  if (child.stderr) pipe(call, 'stderr', child.stderr);
  const ended = new Promise<number>((resolve) => child.once('close', (code) => resolve(code ?? 1)));
  child.once('error', () => undefined);
  const overrides = readOverrides(process.env[OVERRIDES_VARIABLE]);
  const { port, rest } = await portOf(child);
  const server = await servePolicyRelay(port, { name: `policy pack ${packDir}`, overrides });
  call.write(output('stdout', Buffer.concat([Buffer.from(`${server.port}\n`), rest])));
  if (child.stdout) {
    pipe(call, 'stdout', child.stdout);
    child.stdout.resume();
  }
  const code = await ended;
  server.close();
  end(call, code);
}

/**
 * `RunPlugin`: runs a policy pack (`@pulumi/policy`) on the pack's own SDK in a child that sees no credential of the run.
 * Other kinds of plugins are refused: providers are programs of their own.
 */
export async function runPack(call: Call, children: Set<ChildProcess>): Promise<void> {
  const { request } = call;
  const packDir = request.getInfo()?.getProgramDirectory() ?? '';
  if (request.getKind() !== 'analyzer') {
    call.emit('error', {
      code: status.PERMISSION_DENIED,
      details: `Plumbline runs policy packs from source, and no ${request.getKind() || 'other plugins'}`,
    });
    return;
  }
  let child: ChildProcess | undefined;
  try {
    child = start(request, packDir);
    children.add(child);
    call.on('cancelled', () => child?.kill('SIGKILL'));
    await relay(call, child, packDir);
  } catch (error) {
    child?.kill('SIGKILL');
    const why = error instanceof Error ? error.message : String(error);
    call.write(output('stderr', Buffer.from(`policy pack ${packDir}: ${why}\n`)));
    end(call, 1);
  } finally {
    if (child !== undefined) children.delete(child);
  }
}
