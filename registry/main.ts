import { rename, writeFile } from 'node:fs/promises';
import { parseArgs } from 'node:util';
import { pino } from 'pino';
import type { NotificationEndpoint } from './notifier.ts';
import { startRegistry } from './server.ts';

/**
 * The registry as a process: `--dir` is its folder, `--host` and `--port` where it listens, `--port-file` a file the
 * port is written to once it does. Secrets come by environment: REGISTRY_NOTIFY_URL and REGISTRY_NOTIFY_AUTHORIZATION
 * (the value of the Authorization header), REGISTRY_USERNAME and REGISTRY_PASSWORD.
 */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      dir: { type: 'string' },
      host: { type: 'string', default: '127.0.0.1' },
      port: { type: 'string', default: '0' },
      'port-file': { type: 'string' },
    },
  });
  if (values.dir === undefined) throw new Error('--dir is missing: name the folder the registry keeps its files in');
  const port = Number(values.port);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw new Error('--port must be a number from 0 to 65535');
  const auth = readAuth();
  const registry = await startRegistry({
    dir: values.dir,
    host: values.host,
    port,
    notifications: readNotifications(),
    ...(auth === undefined ? {} : { auth }),
    logger: pino({ name: 'registry' }),
  });
  if (values['port-file'] !== undefined) {
    // Renamed into place: whoever waits for the file never reads half a number.
    await writeFile(`${values['port-file']}.part`, String(registry.port));
    await rename(`${values['port-file']}.part`, values['port-file']);
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => void registry.close());
}

function readNotifications(): NotificationEndpoint[] {
  const url = process.env['REGISTRY_NOTIFY_URL'];
  if (!url) return [];
  const authorization = process.env['REGISTRY_NOTIFY_AUTHORIZATION'];
  return [{ url, name: 'environment', headers: authorization ? { Authorization: authorization } : {} }];
}

function readAuth(): { username: string; password: string } | undefined {
  const username = process.env['REGISTRY_USERNAME'];
  const password = process.env['REGISTRY_PASSWORD'];
  if (!username && !password) return undefined;
  if (!username || !password) throw new Error('set REGISTRY_USERNAME and REGISTRY_PASSWORD together, or neither');
  return { username, password };
}

await main().catch((error: unknown) => {
  process.stderr.write(`registry: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = 1;
});
