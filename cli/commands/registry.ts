import type { Command } from 'commander';
import { startRegistry, type RegistryOptions } from '../../registry/server.ts';
import { createContext, type Context } from '../context.ts';
import { failure, usage } from '../error.ts';

interface ServeFlags {
  dir: string;
  host: string;
  port: string;
  notify?: string;
}

function authOf(env: Context['env']): RegistryOptions['auth'] {
  const { PLUMBLINE_REGISTRY_USERNAME: username = '', PLUMBLINE_REGISTRY_PASSWORD: password = '' } = env;
  if ((username === '') !== (password === '')) {
    throw usage('set PLUMBLINE_REGISTRY_USERNAME and PLUMBLINE_REGISTRY_PASSWORD together, or neither');
  }
  return username === '' ? undefined : { username, password };
}

function notificationsOf(env: Context['env'], url: string | undefined): RegistryOptions['notifications'] {
  if (url === undefined) return [];
  if (!URL.canParse(url)) throw usage(`--notify takes the address to post to, not ${JSON.stringify(url)}`);
  const authorization = env['PLUMBLINE_REGISTRY_NOTIFY_AUTHORIZATION'];
  return [{ name: 'plumb', url, headers: authorization === undefined ? {} : { Authorization: authorization } }];
}

async function start(options: RegistryOptions) {
  try {
    return await startRegistry(options);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    const hint = why.includes('EADDRINUSE') ? 'choose another --port' : 'check --dir, --host and --port';
    throw failure(`the registry cannot start: ${why}; ${hint}`, error);
  }
}

async function serve(flags: ServeFlags, command: Command) {
  const { env, print } = createContext(command);
  const port = Number(flags.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw usage('--port takes a number from 0 to 65535');
  const auth = authOf(env);
  const registry = await start({
    dir: flags.dir,
    host: flags.host,
    port,
    notifications: notificationsOf(env, flags.notify),
    ...(auth === undefined ? {} : { auth }),
  });
  print({ url: registry.url }, () => `registry on ${registry.url}, files in ${flags.dir}; Ctrl-C ends it`);
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve());
  });
  await registry.close();
}

/** `plumb registry serve`: a small registry for trying out, tests and air gaps. */
export function registryCommand(program: Command): void {
  program
    .command('registry')
    .description('the embedded OCI registry')
    .command('serve')
    .description('serve a folder as an OCI registry by plain HTTP; user and password come from the environment')
    .requiredOption('--dir <folder>', 'where its files are kept; made when it is missing')
    .option('--host <address>', 'address to listen on', '127.0.0.1')
    .option('--port <number>', '0 picks a free one', '5000')
    .option('--notify <url>', 'post a notification of every push here, such as the hook of a receiver')
    .action(serve);
}
