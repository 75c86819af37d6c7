import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { AnalyzerService } from '@pulumi/pulumi/proto/analyzer_grpc_pb.js';
import analyzer from '@pulumi/pulumi/proto/analyzer_pb.js';
import { expect, it } from 'vitest';
import { violationKey as domainKey } from '#core/domain/policy.ts';
import { overridesOf, violationKey } from './policy-overrides.ts';
import { servePolicyRelay } from './policy-relay.ts';
import { bytesService } from './relay.ts';
import { listen, MESSAGE_LIMITS } from './serve.ts';

const { ADVISORY, MANDATORY, REMEDIATE } = analyzer.EnforcementLevel;
const urn = (name: string) => `urn:pulumi:prod::shop::aws:s3/bucket:Bucket::${name}`;
const stackUrn = 'urn:pulumi:prod::shop::pulumi:pulumi:Stack::shop-prod';
const same = (message: Buffer) => message;

function diagnostic(policy: string, level: 0 | 1 | 2 | 3, about = ''): InstanceType<typeof analyzer.AnalyzeDiagnostic> {
  const said = new analyzer.AnalyzeDiagnostic();
  return said.setPolicypackname('base').setPolicyname(policy).setEnforcementlevel(level).setUrn(about);
}

/** Asks a pack that says this, through the relay, and returns the levels that arrive. */
async function ask(
  method: 'Analyze' | 'AnalyzeStack' | 'Configure',
  said: ReturnType<typeof diagnostic>[],
  overridden: string[],
  answers = true,
) {
  const response = new analyzer.AnalyzeResponse();
  response.setDiagnosticsList(said);
  const service = bytesService(AnalyzerService);
  const answer = (call: { on(event: string, act: () => void): void; write(bytes: Buffer): void; end(): void }) =>
    call.on('data', () => {
      if (!answers) return;
      call.write(Buffer.from(response.serializeBinary()));
      call.end();
    });
  const pack = await listen(service, Object.fromEntries(Object.keys(service).map((name) => [name, answer])));
  const options = { name: 'policy pack base', overrides: overridesOf(overridden), limitMs: 500 };
  const relay = await servePolicyRelay(pack.port, options);
  const client = new Client(`127.0.0.1:${relay.port}`, credentials.createInsecure(), MESSAGE_LIMITS);
  const request = new analyzer.AnalyzeRequest();
  request.setUrn(urn('a'));
  const message = method === 'Analyze' ? Buffer.from(request.serializeBinary()) : Buffer.alloc(0);
  try {
    const bytes = await new Promise<Buffer>((resolve, reject) =>
      client.makeUnaryRequest(
        `/pulumirpc.Analyzer/${method}`,
        same,
        same,
        message,
        new Metadata(),
        {},
        (error, found) => (found === undefined ? reject(error ?? new Error('no answer')) : resolve(found)),
      ),
    );
    const levels = analyzer.AnalyzeResponse.deserializeBinary(bytes).getDiagnosticsList();
    return levels.map((item) => item.getEnforcementlevel());
  } finally {
    client.close();
    relay.close();
    pack.close();
  }
}

const key = (policy: string, about: string) => violationKey({ pack: 'base', policy, urn: about });

it.each<[string, 'Analyze' | 'AnalyzeStack', ReturnType<typeof diagnostic>, string[], number]>([
  ['the one that was', 'Analyze', diagnostic('p', MANDATORY), [key('p', urn('a'))], ADVISORY],
  ['one that was to be mended', 'Analyze', diagnostic('p', REMEDIATE), [key('p', urn('a'))], ADVISORY],
  ['that of another policy', 'Analyze', diagnostic('q', MANDATORY), [key('p', urn('a'))], MANDATORY],
  ['that of another resource', 'Analyze', diagnostic('p', MANDATORY), [key('p', urn('b'))], MANDATORY],
  ['one that names another resource than was asked', 'Analyze', diagnostic('p', MANDATORY, urn('b')), [key('p', urn('b'))], MANDATORY],
  ['that of another pack', 'Analyze', diagnostic('p', MANDATORY), [`other/p ${urn('a')}`], MANDATORY],
  ['one of the stack', 'AnalyzeStack', diagnostic('s', MANDATORY), [key('s', stackUrn)], ADVISORY],
  ['one of a resource by the stack', 'AnalyzeStack', diagnostic('s', MANDATORY, urn('b')), [key('s', urn('b'))], ADVISORY],
  ['another one of the stack', 'AnalyzeStack', diagnostic('s', MANDATORY), [key('s', urn('a'))], MANDATORY],
  ['nothing where nothing was', 'Analyze', diagnostic('p', MANDATORY), [], MANDATORY],
])('takes a violation for advice, or not: %s', async (_what, method, said, overridden, level) => {
  expect(await ask(method, [said], overridden)).toEqual([level]);
}); // prettier-ignore

it('names the pack that does not answer', async () => {
  await expect(ask('Configure', [], [], false)).rejects.toThrow('policy pack base: no answer within 0.5 s');
});

it('writes a violation as the worker does, which cannot share code with what runs in the sandbox', () => {
  const violation = { pack: 'base', policy: 'p', urn: urn('a') };
  expect(violationKey(violation)).toBe(domainKey(violation));
});
