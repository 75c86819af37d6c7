import { randomUUID } from 'node:crypto';

/** Content type of a notification since CNCF Distribution 3 (distribution `notifications/event.go`). */
export const EVENTS_TYPE = 'application/vnd.docker.distribution.events.v2+json';

/** What an event is about. A deleted tag has no digest, a deleted manifest no media type. */
export interface EventTarget {
  repository: string;
  mediaType?: string;
  digest?: string;
  size?: number;
  tag?: string;
  url?: string;
}

/** The request that made it happen. */
export interface EventRequest {
  addr: string;
  host: string;
  method: string;
  useragent: string;
}

/** One event in CNCF Distribution's format; `id` stays the same when it is delivered again. */
export interface RegistryEvent {
  id: string;
  timestamp: string;
  action: 'push' | 'delete';
  target: EventTarget & { length?: number };
  request: EventRequest & { id: string };
  actor: { name?: string };
  source: { addr: string; instanceID: string };
}

/** Builds an event. `length` repeats `size`, as Distribution does for receivers of its first format. */
export function createEvent(
  action: RegistryEvent['action'],
  target: EventTarget,
  origin: { request: EventRequest; actor: string | undefined; source: RegistryEvent['source']; now: Date },
): RegistryEvent {
  return {
    id: randomUUID(),
    timestamp: origin.now.toISOString(),
    action,
    target: target.size === undefined ? target : { ...target, length: target.size },
    request: { id: randomUUID(), ...origin.request },
    actor: origin.actor === undefined ? {} : { name: origin.actor },
    source: origin.source,
  };
}
