/**
 * Launcher of the dynamic provider, beside the engine as `pulumi-resource-pulumi-nodejs`: runs `cmd/dynamic-provider` of the
 * program's own SDK with the environment a program gets. The engine starts it in the program's folder. In this process rather
 * than in a child: a second start of Node.js costs 40 ms a run.
 */
import { createRequire } from 'node:module';
import { programEnvironment } from './private-variables.ts';
import { resolveSdk } from './sdk.ts';

const kept = programEnvironment(process.env);
for (const key of Object.keys(process.env)) if (!(key in kept)) delete process.env[key];
const provider = resolveSdk(process.cwd(), 'cmd/dynamic-provider');
process.argv[1] = provider;
createRequire(import.meta.url)(provider);
