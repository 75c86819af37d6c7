import type { FastifySchemaValidationError } from 'fastify/types/schema.js';
import { Type } from 'typebox';
import { Compile, type Validator } from 'typebox/compile';
import {
  API_VERSION,
  Manifest,
  ReceiverManifest,
  SecretManifest,
  StackManifest,
  TenantManifest,
  TokenManifest,
  type Kind,
} from '#core/domain/manifest.ts';

export const MAX_MANIFESTS = 500;

/** Body of `POST /v1/apply`. */
export const ApplyBody = Type.Object(
  {
    manifests: Type.Array(Manifest, { minItems: 1, maxItems: MAX_MANIFESTS }),
    dryRun: Type.Optional(Type.Boolean({ description: 'check and compare everything, change nothing' })),
  },
  { additionalProperties: false },
);

const KINDS: Record<Kind, Validator> = {
  Tenant: Compile(TenantManifest),
  Secret: Compile(SecretManifest),
  Receiver: Compile(ReceiverManifest),
  Stack: Compile(StackManifest),
  Token: Compile(TokenManifest),
};

function failure(instancePath: string, message: string): FastifySchemaValidationError {
  return { keyword: 'manifest', instancePath, schemaPath: '', params: {}, message };
}

function isKind(text: unknown): text is Kind {
  return typeof text === 'string' && Object.hasOwn(KINDS, text);
}

type TypeBoxError = ReturnType<Validator['Errors']>[number];

/** TypeBox's errors in words: its own repeat themselves for unknown fields and for each value of a choice. */
function plainErrors(errors: readonly TypeBoxError[], at: string): FastifySchemaValidationError[] {
  const choices = new Map<string, unknown[]>();
  const plain: FastifySchemaValidationError[] = [];
  for (const error of errors) {
    const instancePath = `${at}${error.instancePath}`;
    if (error.keyword === 'const') {
      choices.set(instancePath, [...(choices.get(instancePath) ?? []), error.params.allowedValue]);
    } else if (error.keyword === 'enum') {
      choices.set(instancePath, error.params.allowedValues);
    } else if (error.keyword === 'additionalProperties') {
      plain.push(failure(instancePath, `does not know ${error.params.additionalProperties.join(', ')}`));
    } else if (error.keyword !== 'boolean' && error.keyword !== 'anyOf') {
      plain.push(failure(instancePath, error.message));
    }
  }
  const chosen = [...choices].map(([path, allowed]) => failure(path, `must be ${allowed.join(' or ')}`));
  return [...plain, ...chosen];
}

function manifestErrors(manifest: unknown, at: string): FastifySchemaValidationError[] {
  if (typeof manifest !== 'object' || manifest === null) return [failure(at, 'must be object')];
  const { apiVersion, kind }: { apiVersion?: unknown; kind?: unknown } = manifest;
  if (apiVersion !== API_VERSION) return [failure(`${at}/apiVersion`, `must be ${API_VERSION}`)];
  if (!isKind(kind)) return [failure(`${at}/kind`, `must be one of ${Object.keys(KINDS).join(', ')}`)];
  return plainErrors(KINDS[kind].Errors(manifest), at);
}

const Envelope = Compile(
  Type.Object({ ...ApplyBody.properties, manifests: Type.Array(Type.Unknown()) }, { additionalProperties: false }),
);

/**
 * Checks a body of manifests kind by kind: a union's own errors would name every kind a manifest is not. Values are
 * never part of a message, because a Secret may be among them.
 */
export function checkApplyBody(body: unknown): { value: unknown } | { error: FastifySchemaValidationError[] } {
  if (!Envelope.Check(body)) return { error: plainErrors(Envelope.Errors(body), '') };
  const { manifests } = body;
  const outside = manifests.length === 0 || manifests.length > MAX_MANIFESTS;
  if (outside) return { error: [failure('/manifests', `must hold 1 to ${MAX_MANIFESTS} manifests`)] };
  const errors = manifests.flatMap((manifest, index) => manifestErrors(manifest, `/manifests/${index}`));
  return errors.length > 0 ? { error: errors } : { value: body };
}
