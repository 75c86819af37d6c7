import { openLockObject } from './lock-objects.ts';

/**
 * Removes one lock object of a state backend if the run it names left it: `remove-lock.ts <key> <hostname>`. Runs in the sandbox of
 * a run, with what the engine would have, so that the worker itself goes to no address a tenant names. The key is new for every
 * process of the engine, so what is looked at is what is removed.
 */
async function removeLock(key: string, hostname: string): Promise<'removed' | 'gone' | 'changed'> {
  const object = await openLockObject(process.env['PULUMI_BACKEND_URL'] ?? '', key, process.env);
  const text = await object.read();
  if (text === undefined) return 'gone';
  const content: unknown = JSON.parse(text);
  const holder =
    typeof content === 'object' && content !== null && 'hostname' in content ? content.hostname : undefined;
  if (holder !== hostname) return 'changed';
  await object.remove();
  return 'removed';
}

const [key, hostname] = process.argv.slice(2);
if (key === undefined || hostname === undefined) throw new Error('remove-lock.ts <key> <hostname>');
process.stdout.write(await removeLock(key, hostname));
