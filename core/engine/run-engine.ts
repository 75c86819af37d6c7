import { dirname, join } from 'node:path';
import type { Scrubber } from '../scrubber.ts';
import { openRunNetwork, type OpenNetwork } from './egress/run-network.ts';
import { buildEnvironment, certificatePaths } from './environment.ts';
import { policyDirs } from './policies.ts';
import { runEngineProcess, type EngineProcessResult } from './process.ts';
import type { EngineRequest } from './port.ts';
import { stateFolder } from './state-files.ts';

/** How an installation runs its engine. */
export interface EngineOptions {
  /** Folder of the pulumi binary and the launchers beside it. */
  engineDir: string;
  /** Our own Node.js, which runs the language host and the programs. */
  nodePath: string;
  isolation: 'namespaces' | 'none';
  /** Host folders no run may see, above all the data folder. */
  hiddenDirs: string[];
  /** Bytes of one operation's output that are kept. */
  maxOutputBytes: number;
  /** Knows the credentials of a run already; config secrets and passphrases are registered here. */
  scrubber: Scrubber;
  /** How long the provider of a state's secrets may take, in milliseconds; 2 min by default. */
  secretsProviderMs?: number;
  /** The worker's own environment, of which a run gets the certificate variables and nothing else. */
  ownEnvironment: Record<string, string | undefined>;
}

/** One engine process of a request. */
export interface EngineProcess {
  /** Another program of the toolchain, in place of the engine. */
  program?: string;
  args: string[];
  /** Added to the environment every process of the request has. */
  extraEnvironment: Record<string, string>;
  timeoutMs: number;
  maxOutputBytes: number;
  onOutput(text: string): void;
}

const CHECKOUT = join(import.meta.dirname, '..', '..');

/** What our language host needs of this checkout, and nothing of the rest. */
const HOST_PARTS = ['core/engine/host', 'node_modules', 'package.json'].map((part) => join(CHECKOUT, part));

/** A network of its own is part of the namespaces; a plain process has the worker's, whatever the request says. */
async function openNetwork(engine: EngineOptions, request: EngineRequest): Promise<OpenNetwork | undefined> {
  const { network, runDir, onOutput } = request;
  if (network?.mode !== 'filtered' || engine.isolation === 'none') return undefined;
  return await openRunNetwork(runDir, network, (text) => onOutput(engine.scrubber.scrub(text)));
}

/** Runs the engine once in its sandbox: it sees the toolchain, its run's folder, and its state where that is a folder. */
export async function runEngine(
  engine: EngineOptions,
  request: EngineRequest,
  process: EngineProcess,
): Promise<EngineProcessResult> {
  const network = await openNetwork(engine, request);
  try {
    return await runInSandbox(engine, request, process, network);
  } finally {
    await network?.close();
  }
}

function runInSandbox(
  engine: EngineOptions,
  request: EngineRequest,
  process: EngineProcess,
  network: OpenNetwork | undefined,
): Promise<EngineProcessResult> {
  const state = stateFolder(request.identity.backend);
  const pulumi = join(engine.engineDir, 'pulumi');
  const command = process.program ?? pulumi;
  const environment = buildEnvironment({
    runDir: request.runDir,
    engine: pulumi,
    node: engine.nodePath,
    backendUrl: request.identity.backend,
    passphrase: request.passphrase,
    environment: request.environment,
    own: engine.ownEnvironment,
  });
  return runEngineProcess({
    ...process,
    command,
    args: network?.lead(process.args) ?? process.args,
    env: { ...environment, ...process.extraEnvironment, ...network?.env },
    cwd: request.programDir,
    runId: request.runId,
    sandbox: {
      writableDirs: [request.runDir, ...(state === undefined ? [] : [dirname(state)])],
      readOnlyDirs: [
        engine.engineDir,
        dirname(engine.nodePath),
        ...HOST_PARTS,
        ...certificatePaths(engine.ownEnvironment),
        ...request.readOnlyDirs,
        ...policyDirs(request),
      ],
      hiddenDirs: engine.hiddenDirs,
    },
    guard: request.guard,
    signal: request.signal,
    isolation: engine.isolation,
    ...(request.limits && { limits: request.limits }),
    ...(network && { network: network.namespace }),
  });
}
