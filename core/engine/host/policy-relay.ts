import { AnalyzerService } from '@pulumi/pulumi/proto/analyzer_grpc_pb.js';
import analyzer from '@pulumi/pulumi/proto/analyzer_pb.js';
import type { Overrides } from './policy-overrides.ts';
import { bytesService, relayTo } from './relay.ts';
import { listen } from './serve.ts';

/** Longest time one question to a policy pack may take; a whole stack is one question. */
export const PACK_LIMIT_MS = 120_000;

const { ADVISORY, MANDATORY, REMEDIATE } = analyzer.EnforcementLevel;

/** The answer with the overridden violations as advice; every other one keeps its level. */
function withOverrides(message: Buffer, overrides: Overrides): Buffer {
  const response = analyzer.AnalyzeResponse.deserializeBinary(message);
  let changed = false;
  for (const said of response.getDiagnosticsList()) {
    const level = said.getEnforcementlevel();
    const violation = { pack: said.getPolicypackname(), policy: said.getPolicyname(), urn: said.getUrn() };
    if ((level !== MANDATORY && level !== REMEDIATE) || !overrides.holds(violation)) continue;
    said.setEnforcementlevel(ADVISORY);
    changed = true;
  }
  return changed ? Buffer.from(response.serializeBinary()) : message;
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
  const analyses: ReadonlySet<string> = new Set([AnalyzerService.analyze.path, AnalyzerService.analyzeStack.path]);
  const rules = {
    name,
    limitMs,
    request: async (_path: string, message: Buffer) => ({ forward: message }),
    response: (path: string, message: Buffer) => (analyses.has(path) ? withOverrides(message, overrides) : message),
  };
  return listen(bytesService(AnalyzerService), relayTo(port, AnalyzerService, rules));
}
