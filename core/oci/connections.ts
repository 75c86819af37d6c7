import { Agent, ProxyAgent, type Dispatcher } from 'undici';
import { guardedLookup, type Origin } from './address-guard.ts';
import type { HttpTimeouts } from './http.ts';
import { entryOf, hostKey, proxyOf, type RegistryEntry, type RegistrySettings } from './registries.ts';

/** Pools of connections, each for the hosts that are reached in the same way. */
export interface Connections {
  dispatcher(url: URL, origin: Origin): Dispatcher;
  close(): Promise<void>;
}

function openPool(entry: RegistryEntry, origin: Origin, proxy: URL | undefined, defaults: HttpTimeouts): Dispatcher {
  const timeouts = { ...defaults, ...entry.timeouts };
  // HTTP/1.1 only: one window of HTTP/2 shared by large blobs is slower than a connection for each.
  const limits = { headersTimeout: timeouts.headers, bodyTimeout: timeouts.idle, allowH2: false };
  const { tls } = entry;
  if (proxy !== undefined) {
    return new ProxyAgent({ ...limits, uri: proxy.href, connectTimeout: timeouts.connect, requestTls: { ...tls } });
  }
  return new Agent({ ...limits, connect: { timeout: timeouts.connect, lookup: guardedLookup(origin), ...tls } });
}

/**
 * One pool for all hosts without settings of their own and one for each other, so that a CA or client certificate counts
 * for its host only. Hosts a registry's answer names are kept apart: their addresses are checked when they are dialled.
 */
export function createConnections(settings: RegistrySettings, timeouts: HttpTimeouts): Connections {
  const pools = new Map<string, Dispatcher>();
  return {
    dispatcher(url, origin) {
      const host = hostKey(url.host);
      const proxy = proxyOf(settings, url);
      const key = JSON.stringify([origin, settings.entries.has(host) ? host : '', proxy?.href ?? '']);
      const pool = pools.get(key) ?? openPool(entryOf(settings, host), origin, proxy, timeouts);
      pools.set(key, pool);
      return pool;
    },
    async close() {
      await Promise.all([...pools.values()].map((pool) => pool.destroy()));
    },
  };
}
