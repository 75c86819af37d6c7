import { AnalyzerService } from '@pulumi/pulumi/proto/analyzer_grpc_pb.js';
import analyzer from '@pulumi/pulumi/proto/analyzer_pb.js';
import type { Overrides } from './policy-overrides.ts';
import { bytesService, relayTo, type CallRules } from './relay.ts';
import { listen } from './serve.ts';

/** Longest time one question to a policy pack may take; a whole stack is one question. */
const PACK_LIMIT_MS = 120_000;

const { ADVISORY, MANDATORY, REMEDIATE } = analyzer.EnforcementLevel;

/** The answer with the overridden violations as advice; every other one keeps its level. */
function withOverrides(message: Buffer, urnOf: (said: string) => string, overrides: Overrides): Buffer {
  const response = analyzer.AnalyzeResponse.deserializeBinary(message);
  let changed = false;
  for (const said of response.getDiagnosticsList()) {
    const level = said.getEnforcementlevel();
    const urn = urnOf(said.getUrn());
    const violation = { pack: said.getPolicypackname(), policy: said.getPolicyname(), urn };
    if ((level !== MANDATORY && level !== REMEDIATE) || !overrides.holds(violation)) continue;
    said.setEnforcementlevel(ADVISORY);
    changed = true;
  }
  return changed ? Buffer.from(response.serializeBinary()) : message;
}

/** The engine files what a policy says about a resource under that resource, whatever the pack names. */
function ofResource(overrides: Overrides): CallRules {
  let asked = '';
  return {
    async request(message) {
      asked = analyzer.AnalyzeRequest.deserializeBinary(message).getUrn();
      return { forward: message };
    },
    response: (message) => withOverrides(message, () => asked, overrides),
  };
}

/** What is said about a whole stack is filed under the resource it names, else under the stack. */
function ofStack(overrides: Overrides): CallRules {
  return { response: (message) => withOverrides(message, (said) => said, overrides) };
}

function rulesOf(path: string, overrides: Overrides): CallRules {
  if (overrides.isEmpty) return {};
  if (path === AnalyzerService.analyze.path) return ofResource(overrides);
  return path === AnalyzerService.analyzeStack.path ? ofStack(overrides) : {};
}

/**
 * Stands between the engine and a policy pack: a pack that does not answer fails by name instead of keeping the run, and
 * violations that a person overrode become advice, exactly those. The engine itself still stops at every other one, before
 * it touches the resource, in the preview and in the middle of an apply alike.
 */
export function servePolicyRelay(
  port: number,
  options: { name: string; overrides: Overrides; limitMs?: number },
): Promise<{ port: number; close(): void }> {
  const { name, overrides, limitMs = PACK_LIMIT_MS } = options;
  const rules = { name, limitMs, call: (path: string) => rulesOf(path, overrides) };
  return listen(bytesService(AnalyzerService), relayTo(port, AnalyzerService, rules));
}
