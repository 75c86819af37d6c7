import type { FastifyError, FastifyReply, FastifyRequest } from 'fastify';
import type { ProblemView } from '#core/domain/view.ts';
import { Conflict } from '#core/store/conflict.ts';

/** Every kind of refusal, with its status and title; the code is the last part of the problem's `type`. */
export const PROBLEMS = {
  malformed: [400, 'The request cannot be read'],
  unauthenticated: [401, 'A valid token is needed'],
  forbidden: [403, 'The token may not do this'],
  'not-found': [404, 'There is nothing here'],
  conflict: [409, 'The state of things does not allow this'],
  'too-large': [413, 'The body is too large'],
  'unsupported-media-type': [415, 'The content type is not accepted'],
  invalid: [422, 'The request is understood and not valid'],
  internal: [500, 'Something broke inside'],
  unavailable: [503, 'Not available right now'],
} as const satisfies Record<string, readonly [number, string]>;
export type ProblemCode = keyof typeof PROBLEMS;

export interface ProblemExtras {
  reason?: string;
  errors?: { path: string; message: string }[];
}

/** An answer that is a problem document (RFC 9457); thrown by routes, written by `sendProblem`. */
export class Problem extends Error {
  readonly code: ProblemCode;
  readonly extras: ProblemExtras;

  constructor(code: ProblemCode, detail: string, extras: ProblemExtras = {}) {
    super(detail);
    this.name = 'Problem';
    this.code = code;
    this.extras = extras;
  }
}

/** 404: also for what the bearer may not know about, in the same words. */
export function notFound(what: string): Problem {
  return new Problem('not-found', `${what} does not exist, or this token may not see it`);
}

/** 422 with one entry for each thing that is wrong. */
export function invalid(detail: string, errors: { path: string; message: string }[] = []): Problem {
  return new Problem('invalid', detail, { errors });
}

/** Writes a problem document. */
export function sendProblem(request: FastifyRequest, reply: FastifyReply, problem: Problem): FastifyReply {
  const [status, title] = PROBLEMS[problem.code];
  const body: ProblemView = {
    type: `urn:plumbline:problem:${problem.code}`,
    title,
    status,
    detail: problem.message,
    instance: request.id,
    ...problem.extras,
  };
  if (problem.code === 'unauthenticated') void reply.header('www-authenticate', 'Bearer realm="plumbline"');
  if (problem.code === 'unavailable') void reply.header('retry-after', '5');
  // An unreadable URL passes by the hooks that set this header.
  void reply.header('x-request-id', request.id);
  // Serialised here: the response schema of the route describes its success.
  return reply.code(status).type('application/problem+json').serializer(JSON.stringify).send(body);
}

function fromValidation(error: FastifyError): Problem {
  const errors = (error.validation ?? []).slice(0, 20).map((item) => ({
    path: `${error.validationContext ?? 'request'}${item.instancePath}`,
    message: item.message ?? 'is not valid',
  }));
  const first = errors[0];
  const detail = first === undefined ? 'the request is not valid' : `${first.path} ${first.message}`;
  return new Problem(error.validationContext === 'body' ? 'invalid' : 'malformed', detail, { errors });
}

/** Codes of connections that are refused or cut: the database or Redis is away, the request may be sent again. */
const AWAY: ReadonlySet<string> = new Set([
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  '57P01',
  '57P03',
  '08006',
]);

/** The problem a thrown value is answered with; undefined for a defect, which is logged and told nothing about. */
export function asProblem(error: unknown): Problem | undefined {
  if (error instanceof Problem) return error;
  if (error instanceof Conflict) return new Problem('conflict', error.message);
  if (!(error instanceof Error)) return undefined;
  const fastifyError: Partial<FastifyError> = error;
  if (fastifyError.validation !== undefined) return fromValidation(error as FastifyError);
  const code = fastifyError.code ?? '';
  if (AWAY.has(code)) return new Problem('unavailable', 'the database or Redis does not answer; try again');
  const status = fastifyError.statusCode;
  if (status === 413) return new Problem('too-large', error.message);
  if (status === 415) return new Problem('unsupported-media-type', error.message);
  if (status !== undefined && status >= 400 && status < 500) return new Problem('malformed', error.message);
  return undefined;
}
