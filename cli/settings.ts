import { readFile } from 'node:fs/promises';
import { Value } from 'typebox/value';
import { Name } from '#core/domain/manifest-parts.ts';
import { failure, usage } from './error.ts';

/** Where the service is and who asks. */
export interface Settings {
  /** Without a slash at its end. */
  url: string;
  tenant: string;
  /** Whether the user chose the tenant; else manifests that name none go where the token belongs. */
  tenantChosen: boolean;
  /** Read when it is needed, so that commands that need none ask for none. @throws CliError */
  token(): Promise<string>;
}

export type Environment = Readonly<Record<string, string | undefined>>;

const MAX_TOKEN = 4096;

/**
 * Settings of this call: options first, then PLUMBLINE_URL, PLUMBLINE_TENANT, and PLUMBLINE_TOKEN or the file that
 * PLUMBLINE_TOKEN_FILE names. There is no option for the token: arguments are visible to everybody on the machine.
 * @throws CliError naming the setting that is wrong
 */
export function readSettings(env: Environment, options: { url?: string; tenant?: string }): Settings {
  const url = options.url ?? env['PLUMBLINE_URL'] ?? 'http://127.0.0.1:7420';
  const chosen = options.tenant ?? env['PLUMBLINE_TENANT'];
  const tenant = chosen ?? 'default';
  const parsed = URL.canParse(url) ? new URL(url) : undefined;
  if (parsed === undefined || !['http:', 'https:'].includes(parsed.protocol)) {
    throw usage(`PLUMBLINE_URL is no address of a service: ${JSON.stringify(url)}; write https://host[:port]`);
  }
  if (parsed.username !== '' || parsed.password !== '') {
    throw usage('PLUMBLINE_URL holds a user or password: the token belongs into PLUMBLINE_TOKEN');
  }
  if (!Value.Check(Name, tenant)) throw usage(`${JSON.stringify(tenant)} is no name of a tenant`);
  return { url: url.replace(/\/+$/, ''), tenant, tenantChosen: chosen !== undefined, token: () => readToken(env) };
}

async function readToken(env: Environment): Promise<string> {
  const file = env['PLUMBLINE_TOKEN_FILE'];
  const text = env['PLUMBLINE_TOKEN'] ?? (file === undefined ? undefined : await readTokenFile(file));
  const token = text?.trim() ?? '';
  if (token === '') throw usage('no token: set PLUMBLINE_TOKEN, or PLUMBLINE_TOKEN_FILE to a file that holds it');
  if (token.length > MAX_TOKEN || !/^[\x21-\x7e]+$/.test(token)) throw usage('the token holds characters no token has');
  return token;
}

async function readTokenFile(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (error) {
    throw failure(
      `PLUMBLINE_TOKEN_FILE cannot be read: ${error instanceof Error ? error.message : String(error)}`,
      error,
    );
  }
}
