import { connect, createServer, type Server, type Socket } from 'node:net';
import { joinStreams, tie } from '../egress/join-streams.ts';
import { quote } from '../sandbox.ts';
import type { NamespaceNetwork } from './protocol.ts';
import { runScript } from './script.ts';

/** Where clouds answer for their metadata; IPv4 alone, which every SDK tries first. */
const METADATA = { address: '169.254.169.254', port: 80, names: ['metadata.google.internal', 'metadata'] } as const;
/** AWS: container credentials of ECS, and those of EKS's pod identity. */
const CONTAINER_METADATA = ['169.254.170.2', '169.254.170.23'] as const;

const MAX_CONNECTIONS = 256;
const MAX_HEADER = 4_096;

interface Forward {
  address: string;
  port: number;
  /** What the proxy is asked for first; undefined: the client speaks to the proxy itself. */
  target: string | undefined;
}

function forwards({ proxyPort, direct, metadata }: NamespaceNetwork): Forward[] {
  const answering = metadata ? [METADATA.address, ...CONTAINER_METADATA] : [];
  return [
    { address: '127.0.0.1', port: proxyPort, target: undefined },
    ...direct.map(({ host, port, address }) => ({
      address,
      port,
      target: host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`,
    })),
    ...answering.map((address) => ({ address, port: METADATA.port, target: `${address}:${METADATA.port}` })),
  ];
}

/** Lines for /etc/hosts, by which hosts reached without a proxy keep their names. */
export function hostLines({ direct, metadata }: NamespaceNetwork): string[] {
  const named = direct.filter(({ host, address }) => host !== address);
  const lines = named.map(({ host, address }) => `${address} ${host}`);
  return [...new Set(lines), ...(metadata ? [`${METADATA.address} ${METADATA.names.join(' ')}`] : [])];
}

/** Perl is part of every Debian's base where `ip` is not; the numbers are SIOCGIFFLAGS, SIOCSIFFLAGS and SIOCSIFADDR. */
const PERL_UP = String.raw`use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0) or die; my $r = pack("a16 x16", "lo");
ioctl($s, 0x8913, $r) or die; my (undef, $f) = unpack("a16 s", $r); ioctl($s, 0x8914, $r = pack("a16 s x14", "lo", $f | 1)) or die "$!";`;
const PERL_ADD = String.raw`use Socket; socket(my $s, AF_INET, SOCK_DGRAM, 0) or die;
ioctl($s, 0x8916, my $r = pack("a16 S n a4 x8", "lo:$ARGV[1]", AF_INET, 0, inet_aton($ARGV[0]))) or die "$!";`;

function upScript(addresses: string[]): string {
  const add = (address: string, index: number) => [
    `ip addr add ${quote(address)}/${address.includes(':') ? '128' : '32'} dev lo`,
    `perl -e ${quote(PERL_ADD)} ${quote(address)} ${index + 1}`,
  ];
  const script = (way: 0 | 1, up: string) =>
    [up, ...addresses.map((address, index) => add(address, index)[way])].join('\n');
  return [
    'if command -v ip >/dev/null; then',
    script(0, 'ip link set lo up'),
    'elif command -v perl >/dev/null; then',
    script(1, `perl -e ${quote(PERL_UP)}`),
    'else echo "neither ip (iproute2) nor perl is installed" >&2; exit 1; fi',
  ].join('\n');
}

/** Brings up the loopback of the calling process's fresh network namespace, before the cage is entered. */
export function raiseLoopback(network: NamespaceNetwork): void {
  const addresses = forwards(network).map(({ address }) => address);
  const foreign = [...new Set(addresses)].filter((address) => !address.startsWith('127.'));
  runScript('bringing up the loopback', upScript(foreign));
}

/** Asks the proxy for `target`, and hands the connection on when it says yes. */
function ask(client: Socket, upstream: Socket, target: string): void {
  tie(client, upstream);
  client.pause();
  upstream.write(`CONNECT ${target} HTTP/1.1\r\nhost: ${target}\r\n\r\n`);
  let answer = Buffer.alloc(0);
  const hear = (chunk: Buffer) => {
    answer = Buffer.concat([answer, chunk]);
    const end = answer.indexOf('\r\n\r\n');
    if (end < 0 && answer.length <= MAX_HEADER) return;
    upstream.off('data', hear);
    if (end < 0 || !/^HTTP\/1\.[01] 200 /.test(answer.toString('latin1', 0, end))) {
      client.destroy();
      return;
    }
    client.write(answer.subarray(end + 4));
    client.pipe(upstream).pipe(client);
  };
  upstream.on('data', hear);
}

function forwarder(proxyPath: string, target: string | undefined): Server {
  const server = createServer((client) => {
    const upstream = connect(proxyPath);
    if (target === undefined) joinStreams(client, upstream);
    else ask(client, upstream, target);
  });
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

/** Listens inside the namespace for what leads out of it, by the proxy's Unix socket alone. */
export async function openForwards(network: NamespaceNetwork): Promise<void> {
  for (const { address, port, target } of forwards(network)) {
    const server = forwarder(network.proxyPath, target);
    await new Promise<void>((resolve, reject) => server.once('error', reject).listen(port, address, resolve));
  }
}
