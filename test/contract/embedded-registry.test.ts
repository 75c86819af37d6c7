import { temporaryRegistry } from '../harness/temporary-registry.ts';
import { describeRegistry } from './registry.ts';

describeRegistry('the embedded registry', async () => {
  const registry = await temporaryRegistry();
  return { host: `127.0.0.1:${registry.port}`, close: () => registry.close() };
});

describeRegistry('the embedded registry that asks for credentials', async () => {
  const credentials = { username: 'plumb', password: 'line' };
  const registry = await temporaryRegistry({ auth: credentials });
  return { host: `127.0.0.1:${registry.port}`, credentials, close: () => registry.close() };
});
