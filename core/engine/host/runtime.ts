import type { ChildProcess } from 'node:child_process';
import { dirname } from 'node:path';
import {
  status,
  type handleServerStreamingCall,
  type handleUnaryCall,
  type ServerWritableStream,
  type UntypedServiceImplementation,
} from '@grpc/grpc-js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import type * as languageTypes from '@pulumi/pulumi/proto/language_pb.js';
import plugin from '@pulumi/pulumi/proto/plugin_pb.js';
import type * as pluginTypes from '@pulumi/pulumi/proto/plugin_pb.js';
import empty from 'google-protobuf/google/protobuf/empty_pb.js';
import type { Empty } from 'google-protobuf/google/protobuf/empty_pb.js';
import { gateRefusal, runsNoProgram } from './gate.ts';
import { requiredPackages } from './packages.ts';
import { runPack } from './run-pack.ts';
import { runProgram, type ProgramResult, type ProgramRun } from './run-program.ts';

/** What the host keeps while it serves one engine. */
export interface HostState {
  engineAddress: string;
  child: ChildProcess | undefined;
  /** Policy packs that are running. */
  packs: Set<ChildProcess>;
}

function programRun(request: languageTypes.RunRequest, engineAddress: string): ProgramRun {
  const info = request.getInfo();
  const options: unknown = info?.getOptions()?.toJavaScript() ?? {};
  return {
    project: request.getProject(),
    stack: request.getStack(),
    organization: request.getOrganization(),
    programDir: info?.getProgramDirectory() || request.getPwd(),
    rootDirectory: info?.getRootDirectory() || request.getPwd(),
    pwd: request.getPwd(),
    entryPoint: info?.getEntryPoint() || request.getProgram(),
    args: request.getArgsList(),
    config: Object.fromEntries(request.getConfigMap().toArray()),
    secretKeys: request.getConfigsecretkeysList(),
    dryRun: request.getDryrun(),
    parallel: request.getParallel(),
    monitorAddress: request.getMonitorAddress(),
    engineAddress,
    options: typeof options === 'object' && options !== null ? { ...options } : {},
  };
}

async function gatedRun(run: ProgramRun, state: HostState): Promise<ProgramResult> {
  const refusal = await gateRefusal(run.dryRun);
  if (refusal !== undefined) return { error: refusal, bail: false };
  if (runsNoProgram()) return { error: '', bail: false };
  try {
    return await runProgram(run, (child) => (state.child = child));
  } catch (error) {
    return { error: error instanceof Error ? error.message : String(error), bail: false };
  } finally {
    state.child = undefined;
  }
}

function runHandler(state: HostState): handleUnaryCall<languageTypes.RunRequest, languageTypes.RunResponse> {
  return (call, callback) => {
    // `gatedRun` turns every failure into an answer, so there is no rejection to handle.
    void gatedRun(programRun(call.request, state.engineAddress), state).then((result) => {
      const response = new language.RunResponse();
      response.setError(result.error);
      response.setBail(result.bail);
      callback(null, response);
    });
  };
}

const getRequiredPackages: handleUnaryCall<
  languageTypes.GetRequiredPackagesRequest,
  languageTypes.GetRequiredPackagesResponse
> = (call, callback) => {
  const response = new language.GetRequiredPackagesResponse();
  for (const required of requiredPackages(call.request.getInfo()?.getProgramDirectory() ?? '')) {
    const dependency = new plugin.PackageDependency();
    dependency.setName(required.name).setKind('resource').setVersion(required.version).setServer(required.server);
    response.addPackages(dependency);
  }
  callback(null, response);
};

const getPluginInfo: handleUnaryCall<Empty, pluginTypes.PluginInfo> = (_call, callback) => {
  callback(null, new plugin.PluginInfo());
};

const about: handleUnaryCall<languageTypes.AboutRequest, languageTypes.AboutResponse> = (_call, callback) => {
  const response = new language.AboutResponse();
  response.setExecutable(dirname(process.execPath));
  response.setVersion(process.version);
  callback(null, response);
};

const installDependencies: handleServerStreamingCall<
  languageTypes.InstallDependenciesRequest,
  languageTypes.InstallDependenciesResponse
> = (call) => {
  // Emitted rather than thrown: this is how grpc-js ends a stream with a status.
  call.emit('error', {
    code: status.PERMISSION_DENIED,
    details: 'Plumbline installs dependencies before the run, by the lock file',
  });
};

/** The LanguageRuntime service (pulumi/proto/language.proto) for Node.js programs. */
export function languageRuntime(state: HostState): UntypedServiceImplementation {
  const run = runHandler(state);
  return {
    handshake: (_call: unknown, callback: (error: null, response: unknown) => void) =>
      callback(null, new language.LanguageHandshakeResponse()),
    run,
    getRequiredPackages,
    getPluginInfo,
    about,
    installDependencies,
    // `runPack` turns every failure into an answer.
    runPlugin: (call: ServerWritableStream<languageTypes.RunPluginRequest, languageTypes.RunPluginResponse>) =>
      void runPack(call, state.packs),
    getProgramDependencies: (_call: unknown, callback: (error: null, response: unknown) => void) =>
      callback(null, new language.GetProgramDependenciesResponse()),
    runtimeOptionsPrompts: (_call: unknown, callback: (error: null, response: unknown) => void) =>
      callback(null, new language.RuntimeOptionsResponse()),
    cancel: (_call: unknown, callback: (error: null, response: Empty) => void) => {
      state.child?.kill('SIGINT');
      callback(null, new empty.Empty());
    },
  };
}
