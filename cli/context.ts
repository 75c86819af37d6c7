import type { Command } from 'commander';
import { createClient, type Client } from './client.ts';
import { usage } from './error.ts';
import { readSettings, type Environment, type Settings } from './settings.ts';

export type OutputFormat = 'text' | 'json';

/** Everything a command works with. */
export interface Context {
  settings: Settings;
  client: Client;
  env: Environment;
  format: OutputFormat;
  /** Path below the tenant; each value is escaped. */
  path(strings: TemplateStringsArray, ...values: readonly (string | number)[]): string;
  /** Writes the answer: as it is for `-o json`, else in words. */
  print(value: unknown, render: () => string): void;
  write(text: string): void;
}

/** Makes the context of one call from its options and the environment. @throws CliError */
export function createContext(command: Command): Context {
  const options = command.optsWithGlobals<{ url?: string; tenant?: string; output?: string }>();
  if (options.output !== undefined && options.output !== 'json' && options.output !== 'text') {
    throw usage(`-o takes text or json, not ${JSON.stringify(options.output)}`);
  }
  const format = options.output ?? 'text';
  const env = process.env;
  const settings = readSettings(env, options);
  const write = (text: string) => void process.stdout.write(`${text}\n`);
  return {
    settings,
    client: createClient(settings),
    env,
    format,
    write,
    path: (strings, ...values) => {
      const below = strings.map((part, index) => `${part}${encodeURIComponent(values[index] ?? '')}`).join('');
      return `/v1/tenants/${settings.tenant}${below}`;
    },
    print: (value, render) => write(format === 'json' ? JSON.stringify(value, undefined, 2) : render()),
  };
}
