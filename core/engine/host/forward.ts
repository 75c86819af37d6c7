import type { UntypedServiceImplementation } from '@grpc/grpc-js';
import { LanguageRuntimeService } from '@pulumi/pulumi/proto/language_grpc_pb.js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import { gateRefusal, runsNoProgram } from './gate.ts';
import { isPrivate } from './private-variables.ts';
import { bytesService, relayTo, type CallRules, type Verdict } from './relay.ts';

/** The LanguageRuntime service (pulumi/proto/language.proto) without a view on its messages. */
export const forwardedService = bytesService(LanguageRuntimeService);

/** Only with the worker's consent does a program run in an apply, whatever its language (design, Plan binding). */
async function checkedRun(message: Buffer): Promise<Verdict> {
  const refusal = await gateRefusal(language.RunRequest.deserializeBinary(message).getDryrun());
  if (refusal === undefined && !runsNoProgram()) return { forward: message };
  const response = new language.RunResponse();
  response.setError(refusal ?? '');
  return { answer: Buffer.from(response.serializeBinary()) };
}

/** The engine hands its whole environment on to a plugin that a host runs. */
async function strippedPlugin(message: Buffer): Promise<Verdict> {
  const request = language.RunPluginRequest.deserializeBinary(message);
  request.setEnvList(request.getEnvList().filter((entry) => !isPrivate(entry.split('=', 1)[0] ?? '')));
  return { forward: Buffer.from(request.serializeBinary()) };
}

function rulesOf(path: string): CallRules {
  if (path === LanguageRuntimeService.run.path) return { request: checkedRun };
  if (path === LanguageRuntimeService.runPlugin.path) return { request: strippedPlugin };
  return {};
}

/** Forwards every call to the host at `port` of the loopback; `Run` passes the gate first. */
export function forwardTo(port: number): UntypedServiceImplementation {
  return relayTo(port, forwardedService, { call: rulesOf });
}
