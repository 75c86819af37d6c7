import { setTimeout as delay } from 'node:timers/promises';
import { API_VERSION, type Kind } from '#core/domain/manifest.ts';
import type { RunDetailView, RunView, StackView } from '#core/domain/view.ts';

const REQUEST_MS = 10_000;
const POLL_MS = 150;

/** An answer of the service, whatever its status. */
export interface Answer<T> {
  status: number;
  body: T;
}

/** The service's HTTP API as the demo uses it: plain requests with a bearer token. */
export interface Api {
  url: string;
  request<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer<T>>;
  /** Like `request`, but anything but success is an error with the problem's words. */
  ask<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T>;
}

/** Makes the client of one service. */
export function createApi(url: string, token: string): Api {
  async function request<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer<T>> {
    const response = await fetch(`${url}${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, ...(body !== undefined && { 'content-type': 'application/json' }) },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      signal: AbortSignal.timeout(REQUEST_MS),
    });
    // The service documents its answers; the demo trusts what it was built with.
    const answer = (await response.json()) as T;
    return { status: response.status, body: answer };
  }
  async function ask<T>(method: 'GET' | 'POST', path: string, body?: unknown): Promise<T> {
    const answer = await request<T & { title?: string; detail?: string }>(method, path, body);
    if (answer.status < 400) return answer.body;
    throw new Error(`${method} ${path}: ${answer.status} ${answer.body.title ?? ''} ${answer.body.detail ?? ''}`);
  }
  return { url, request, ask };
}

/** A manifest as `POST /v1/apply` takes it, of the token's own tenant. */
export function manifest(kind: Kind, name: string, spec: object) {
  return { apiVersion: API_VERSION, kind, metadata: { name }, spec };
}

const base = '/v1/tenants/default/stacks';

/** Asks until `wanted` gives something; on time-out says what the stack last said of itself. */
export async function until<T>(
  api: Api,
  stack: string,
  limitMs: number,
  wanted: () => Promise<T | undefined>,
): Promise<T> {
  const end = performance.now() + limitMs;
  while (performance.now() < end) {
    const found = await wanted();
    if (found !== undefined) return found;
    await delay(POLL_MS);
  }
  const view = await api.ask<StackView>('GET', `${base}/${stack}`);
  throw new Error(`waited ${limitMs / 1000} s in vain; the stack says: ${view.why}`);
}

/** The newest update or rollback run after `after` that is in one of the states. */
export async function runIn(
  api: Api,
  stack: string,
  states: RunView['state'][],
  after: number,
): Promise<RunView | undefined> {
  const page = await api.ask<{ items: RunView[] }>('GET', `${base}/${stack}/runs`);
  const newest = page.items.filter((run) => run.operation !== 'drift' && run.number > after)[0];
  if (newest?.state === 'errored' && !states.includes('errored'))
    throw new Error(`run ${newest.number} failed: ${newest.message}`);
  return newest && states.includes(newest.state) ? newest : undefined;
}

/** A run with its plan and approvals. */
export async function runDetail(api: Api, stack: string, number: number): Promise<RunDetailView> {
  return await api.ask('GET', `${base}/${stack}/runs/${number}`);
}
