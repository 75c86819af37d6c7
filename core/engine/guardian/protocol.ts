import type { ProcessLimits } from '../port.ts';
import type { Sandbox } from '../sandbox.ts';
import type { Excess } from './limits.ts';

/**
 * What a worker and its guardian say to each other, one line a message. The worker writes to the guardian's standard input:
 * first this object as JSON, then `go <ms>`, `beat <ms>` (milliseconds until everything is killed) and `interrupt`.
 * Nothing goes by argv or environment, which other processes could read.
 */
export interface GuardianConfig {
  command: string;
  args: string[];
  cwd: string;
  /** The whole environment of the engine. */
  env: Record<string, string>;
  hostName: string;
  sandbox: Sandbox;
  graceMs: Grace;
  limits: ProcessLimits;
  /** Given: the namespaces have a network of their own. */
  network?: NamespaceNetwork;
}

/** What leads out of a network namespace. */
export interface NamespaceNetwork {
  /** On 127.0.0.1. */
  proxyPort: number;
  /** The proxy's Unix socket, visible in the sandbox. */
  proxyPath: string;
  /** Hosts reached by their own names: `address` is where they are found in the namespace. */
  direct: { host: string; port: number; address: string }[];
  /** The metadata address of the cloud answers. */
  metadata: boolean;
}

/** Milliseconds between the first and the second SIGINT, and between the second and the kill. */
export type Grace = readonly [afterFirst: number, afterSecond: number];

/** What the guardian writes to descriptor 3, as JSON lines. */
export type GuardianReport =
  | { type: 'namespace'; inode: string }
  | { type: 'ready' }
  /** A limit was passed; the run is being stopped, and its end follows. */
  | { type: 'exceeded'; excess: Excess }
  | { type: 'exit'; code: number; signal: string | undefined }
  | { type: 'deadline' }
  | { type: 'failed'; message: string };

/** The descriptor of the guardian's reports. */
export const REPORT_FD = 3;

/** Calls `onLine` for each whole line of a stream of text pieces. */
export function lineSplitter(onLine: (line: string) => void): (piece: string) => void {
  let rest = '';
  return (piece) => {
    const lines = (rest + piece).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  };
}

/** A line of the worker's; both ends are ours, and of one version. */
export function parseConfig(line: string): GuardianConfig {
  return JSON.parse(line) as GuardianConfig;
}

/** A line of the guardian's; no program holds its descriptor. */
export function parseReport(line: string): GuardianReport {
  return JSON.parse(line) as GuardianReport;
}
