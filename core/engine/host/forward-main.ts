/**
 * Stands before a language host that is not ours (YAML's and the others of the official bundle): the engine starts this as
 * `pulumi-language-…`, and this starts the real host, the first argument, with the rest of the arguments. Between the two
 * every call is forwarded, `Run` with the worker's consent alone.
 */
import { spawn } from 'node:child_process';
import { forwardedService, forwardTo } from './forward.ts';
import { programEnvironment } from './private-variables.ts';
import { foreignPrefix } from './privilege.ts';
import { leaveWithEngine, serveHost } from './serve.ts';

/** The engine kills a host that is not gone after five seconds. */
const GRACE_MS = 2_000;
/** The first line of a host is a port number. */
const MAX_FIRST_LINE = 1_024;

const command = process.argv[2] ?? '';
const [first = command, ...rest] = [...foreignPrefix('program'), ...process.argv.slice(2)];
const host = spawn(first, rest, { env: programEnvironment(process.env), stdio: ['ignore', 'pipe', 'inherit'] });

leaveWithEngine(() => {
  host.kill('SIGINT');
  setTimeout(() => host.kill('SIGKILL'), GRACE_MS);
});
host.on('error', (error) => {
  process.stderr.write(`The language host ${command} does not start: ${error.message}\n`);
  process.exit(1);
});
host.on('exit', (code) => process.exit(code ?? 1));

function readPort(printed: string): number {
  const port = Number(printed.trim());
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  process.stderr.write(`The language host ${command} printed no port but ${JSON.stringify(printed.slice(0, 100))}\n`);
  host.kill('SIGKILL');
  process.exit(1);
}

/** What the host prints after its port is shown to the user, as that of a host without a proxy is. */
async function serve(port: number, rest: string): Promise<void> {
  await serveHost(forwardedService, forwardTo(port));
  process.stdout.write(Buffer.from(rest, 'latin1'));
  host.stdout.pipe(process.stdout, { end: false });
}

let printed = '';
const untilPort = (piece: Buffer) => {
  printed += piece.toString('latin1');
  const end = printed.indexOf('\n');
  if (end < 0 && printed.length < MAX_FIRST_LINE) return;
  host.stdout.off('data', untilPort).pause();
  // A port that cannot be had ends this process, which the engine reports.
  void serve(readPort(printed.slice(0, end)), printed.slice(end + 1));
};
host.stdout.on('data', untilPort);
