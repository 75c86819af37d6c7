import { readFile } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { createSecureContext } from 'node:tls';
import { Type, type Static } from 'typebox';
import { Value } from 'typebox/value';
import { parse } from 'yaml';
import { ConfigError, type Config } from '../config.ts';
import { parseReference } from '../domain/reference.ts';
import { hostKey, type ProxySettings, type RegistryEntry, type RegistrySettings } from './registries.ts';

const closed = { additionalProperties: false } as const;
const Seconds = Type.Integer({ minimum: 1, maximum: 3600 });

const EntrySchema = Type.Object(
  {
    mirrors: Type.Optional(
      Type.Array(
        Type.Object(
          { host: Type.String(), plainHttp: Type.Optional(Type.Boolean()), prefix: Type.Optional(Type.String()) },
          closed,
        ),
        { maxItems: 10 },
      ),
    ),
    mirrorTags: Type.Optional(Type.Boolean()),
    plainHttp: Type.Optional(Type.Boolean()),
    ca: Type.Optional(Type.String({ minLength: 1 })),
    clientCertificate: Type.Optional(Type.String({ minLength: 1 })),
    clientKey: Type.Optional(Type.String({ minLength: 1 })),
    proxy: Type.Optional(Type.String()),
    privateHosts: Type.Optional(Type.Array(Type.String())),
    timeouts: Type.Optional(
      Type.Object(
        { connect: Type.Optional(Seconds), headers: Type.Optional(Seconds), idle: Type.Optional(Seconds) },
        closed,
      ),
    ),
  },
  closed,
);
const FileSchema = Type.Object({ registries: Type.Record(Type.String(), EntrySchema) }, closed);
type FileEntry = Static<typeof EntrySchema>;

const MAX_FILE_BYTES = 1024 * 1024;
const PREFIX = /^([a-z0-9]+([._-]+[a-z0-9]+)*(\/[a-z0-9]+([._-]+[a-z0-9]+)*)*)?$/;

/** The settings registries are made from. */
export type RegistryConfig = Pick<
  Config,
  'PLUMBLINE_REGISTRIES_FILE' | 'PLUMBLINE_ALLOWED_REGISTRIES' | 'HTTPS_PROXY' | 'HTTP_PROXY' | 'NO_PROXY'
>;

/** Says where a value stands: the file and the path in it, or the variable. */
function wrong(where: string, why: string, cause?: unknown): ConfigError {
  return new ConfigError(`${where} ${why}; see docs/registries.md`, cause === undefined ? undefined : { cause });
}

function hostAt(host: string, where: string): string {
  try {
    return hostKey(parseReference(`oci://${host}/a`).repository.host);
  } catch {
    throw wrong(where, `is no host[:port]: ${JSON.stringify(host.slice(0, 80))}`);
  }
}

/** A proxy's address may hold a password, so it is never shown. */
function proxyAt(text: string, where: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url !== undefined && (url.protocol === 'http:' || url.protocol === 'https:')) return url;
  throw wrong(where, 'is no address of a proxy; write http://host:port');
}

async function readText(file: string, where: string): Promise<string> {
  const bytes = await readFile(file).catch((error: unknown) => {
    throw wrong(where, `cannot be read: ${error instanceof Error ? error.message : String(error)}`, error);
  });
  if (bytes.byteLength > MAX_FILE_BYTES) throw wrong(where, `is larger than ${MAX_FILE_BYTES} bytes`);
  return bytes.toString('utf8');
}

async function tlsOf(entry: FileEntry, folder: string, where: string): Promise<RegistryEntry['tls']> {
  if ((entry.clientCertificate === undefined) !== (entry.clientKey === undefined)) {
    throw wrong(where, 'needs clientCertificate and clientKey together, or neither');
  }
  const read = async (name: 'ca' | 'clientCertificate' | 'clientKey') => {
    const file = entry[name];
    return file === undefined ? undefined : await readText(resolve(folder, file), `${where}/${name}`);
  };
  const [ca, cert, key] = await Promise.all([read('ca'), read('clientCertificate'), read('clientKey')]);
  const tls = {
    ...(ca === undefined ? {} : { ca }),
    ...(cert === undefined ? {} : { cert }),
    ...(key === undefined ? {} : { key }),
  };
  if (ca !== undefined && !ca.includes('-----BEGIN CERTIFICATE-----'))
    throw wrong(`${where}/ca`, 'holds no PEM certificate');
  try {
    createSecureContext(tls);
  } catch (error) {
    throw wrong(where, 'has certificates or a key that are no PEM, or do not belong together', error);
  }
  return tls;
}

function mirrorsOf(entry: FileEntry, where: string): RegistryEntry['mirrors'] {
  return (entry.mirrors ?? []).map(({ host, plainHttp = false, prefix = '' }, index) => {
    const at = `${where}/mirrors/${index}`;
    if (!PREFIX.test(prefix)) throw wrong(`${at}/prefix`, 'is no part of a repository name');
    return { host: hostAt(host, `${at}/host`), plainHttp, prefix };
  });
}

async function entryAt(entry: FileEntry, folder: string, where: string): Promise<RegistryEntry> {
  const { mirrorTags = false, plainHttp = false, proxy, privateHosts = [], timeouts = {} } = entry;
  return {
    mirrors: mirrorsOf(entry, where),
    mirrorTags,
    plainHttp,
    tls: await tlsOf(entry, folder, where),
    proxy: proxy === undefined || proxy === 'none' ? proxy : proxyAt(proxy, `${where}/proxy`),
    privateHosts: privateHosts.map((host, index) => hostAt(host, `${where}/privateHosts/${index}`)),
    timeouts: Object.fromEntries(Object.entries(timeouts).map(([name, seconds]) => [name, seconds * 1000])),
  };
}

async function readEntries(file: string): Promise<Map<string, RegistryEntry>> {
  const text = await readText(file, `PLUMBLINE_REGISTRIES_FILE ${file}`);
  let content: unknown;
  try {
    content = parse(text);
  } catch (error) {
    throw wrong(file, `is no YAML: ${error instanceof Error ? error.message : String(error)}`, error);
  }
  if (!Value.Check(FileSchema, content)) {
    const [first] = Value.Errors(FileSchema, content);
    // A field that no schema knows is told of as one whose schema is `false`.
    const why = first?.keyword === 'boolean' ? 'is no setting' : (first?.message ?? 'is not valid');
    throw wrong(`${file} ${first?.instancePath ?? ''}`.trimEnd(), why);
  }
  const entries = new Map<string, RegistryEntry>();
  for (const [name, entry] of Object.entries(content.registries)) {
    const where = `${file} /registries/${name}`;
    const host = hostAt(name, where);
    if (entries.has(host)) throw wrong(where, `is the same registry as another entry (${host})`);
    entries.set(host, await entryAt(entry, dirname(file), where));
  }
  return entries;
}

/** Parts of a comma-separated list, without the spaces around them. */
function listOf(text: string): string[] {
  return text.split(',').flatMap((part) => (part.trim() === '' ? [] : [part.trim().toLowerCase()]));
}

function allowedAt(pattern: string): string {
  const bare = pattern.startsWith('*.') ? pattern.slice(2) : pattern;
  const host = hostAt(bare, 'PLUMBLINE_ALLOWED_REGISTRIES');
  return pattern.startsWith('*.') ? `*.${host}` : host;
}

function proxiesOf(config: RegistryConfig): ProxySettings {
  const { HTTPS_PROXY: https, HTTP_PROXY: http, NO_PROXY } = config;
  return {
    ...(https === '' ? {} : { https: proxyAt(https, 'HTTPS_PROXY') }),
    ...(http === '' ? {} : { http: proxyAt(http, 'HTTP_PROXY') }),
    noProxy: listOf(NO_PROXY),
  };
}

/**
 * Everything an operator says about registries, read once at start.
 * @throws ConfigError naming the variable, or the file and the path in it
 */
export async function loadRegistrySettings(config: RegistryConfig): Promise<RegistrySettings> {
  const file = config.PLUMBLINE_REGISTRIES_FILE;
  return {
    entries: file === '' ? new Map() : await readEntries(resolve(file)),
    allowed: listOf(config.PLUMBLINE_ALLOWED_REGISTRIES).map(allowedAt),
    proxies: proxiesOf(config),
  };
}
