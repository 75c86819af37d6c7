import { randomBytes } from 'node:crypto';
import { connect, createServer, isIP, type Server, type Socket } from 'node:net';
import { join } from 'node:path';
import { stalled } from '../../domain/errors.ts';
import type { NamespaceNetwork } from '../guardian/protocol.ts';
import type { RunNetwork } from '../port.ts';
import { METADATA_NAMES } from './addresses.ts';
import type { Resolve } from './dial.ts';
import { joinStreams } from './join-streams.ts';
import { openEgressProxy } from './proxy.ts';
import { directTargets, parseEgress, type EgressRule } from './rules.ts';
import { listenUnix } from '../unix-socket.ts';

/** The proxy's port in every network namespace. */
const PROXY_PORT = 3128;

/** A run's way out of its own network namespace, on the worker's side. */
export interface OpenNetwork {
  /** Variables by which programs and providers find the proxy. */
  env: Record<string, string>;
  namespace: NamespaceNetwork;
  /** The engine's arguments with the event stream led through a Unix socket. */
  lead(args: string[]): string[];
  close(): Promise<void>;
}

function parseRules(network: RunNetwork): EgressRule[] {
  try {
    return parseEgress(network.egress);
  } catch (error) {
    throw stalled('SpecInvalid', error instanceof Error ? error.message : String(error), error);
  }
}

/** Hosts of `tcp://` rules get an address each on the namespace's loopback, so that their ports cannot collide. */
function directHosts(rules: EgressRule[]): NamespaceNetwork['direct'] {
  const targets = directTargets(rules);
  const hosts = [...new Set(targets.map(({ host }) => host))];
  return targets.map(({ host, port }) => {
    const index = hosts.indexOf(host) + 1;
    return { host, port, address: isIP(host) === 0 ? `127.77.${index >> 8}.${index & 255}` : host };
  });
}

function proxyVariables(direct: NamespaceNetwork['direct']): Record<string, string> {
  const proxy = `http://127.0.0.1:${PROXY_PORT}`;
  const none = [
    'localhost',
    '127.0.0.1',
    '::1',
    '169.254.169.254',
    ...METADATA_NAMES,
    ...direct.map(({ host }) => host),
  ];
  const exceptions = [...new Set(none)].join(',');
  return {
    HTTPS_PROXY: proxy,
    https_proxy: proxy,
    HTTP_PROXY: proxy,
    http_proxy: proxy,
    NO_PROXY: exceptions,
    no_proxy: exceptions,
    // Node's own clients look at none of these without it.
    NODE_USE_ENV_PROXY: '1',
  };
}

const EVENTS = /^tcp:\/\/127\.0\.0\.1:(\d{1,5})$/;

/** Connects whoever comes to a port of the worker's loopback. */
function relayTo(port: () => number | undefined, sockets: Set<Socket>): Server {
  return createServer((client) => {
    const to = port();
    if (to === undefined) return void client.destroy();
    const upstream = connect(to, '127.0.0.1');
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.once('close', () => sockets.delete(socket));
    }
    joinStreams(client, upstream);
  });
}

/**
 * Opens what leads out of one engine process's network namespace: the egress proxy, and the engine's event stream to the
 * Automation API's server on the worker's loopback. Both are Unix sockets in the run's folder.
 * @throws ReconcileError stalled when a rule cannot be read or the folder lies too deep for a socket.
 */
export async function openRunNetwork(
  runDir: string,
  network: RunNetwork,
  say: (text: string) => void,
  resolve?: Resolve,
): Promise<OpenNetwork> {
  const rules = parseRules(network);
  const direct = directHosts(rules);
  // An apply and a look at the state share a folder at one time.
  const id = randomBytes(3).toString('hex');
  const proxyPath = join(runDir, `egress-${id}`);
  const eventsPath = join(runDir, `events-${id}`);
  const sockets = new Set<Socket>();
  let eventsPort: number | undefined;
  const events = relayTo(() => eventsPort, sockets);
  const proxy = await openEgressProxy({
    path: proxyPath,
    policy: { rules, metadata: network.metadata },
    onRefused: (message) => say(`egress: ${message}\n`),
    ...(resolve && { resolve }),
  });
  await listenUnix(events, eventsPath);
  return {
    env: proxyVariables(direct),
    namespace: { proxyPort: PROXY_PORT, proxyPath, direct, metadata: network.metadata },
    lead: (args) =>
      args.map((arg) => {
        const port = EVENTS.exec(arg)?.[1];
        if (port === undefined) return arg;
        eventsPort = Number(port);
        // gRPC takes any of its targets after `tcp://` (engine: startEventLogger).
        return `tcp://unix://${eventsPath}`;
      }),
    async close() {
      for (const socket of sockets) socket.destroy();
      await Promise.all([proxy.close(), new Promise((done) => events.close(done))]);
    },
  };
}
