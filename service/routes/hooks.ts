import { Type } from 'typebox';
import type { FastifyRequest } from 'fastify';
import { recordDelivery } from '#core/store/deliveries.ts';
import { findByPath, type ReceiverRow } from '#core/store/receivers.ts';
import { requestReconcileByRepository } from '#core/store/requests.ts';
import type { App, RouteDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { followedRepositories } from '../receivers/followed.ts';
import type { Delivery, PushEvent } from '../receivers/receiver.ts';
import { RECEIVERS } from '../receivers/table.ts';
import { openSecret } from '../secrets.ts';
import { ringStack } from '../stack.ts';
import { problems } from './schema.ts';

/** Bytes of a hook's body, refused before the path is looked up. */
export const HOOK_BODY_LIMIT = 3 * 1024 * 1024;

/** Notes the events and the requests they lead to in one transaction; returns the stacks to ring for. */
async function accept(
  deps: RouteDeps,
  receiver: ReceiverRow,
  events: PushEvent[],
): Promise<{ stacks: string[]; repeated: number }> {
  const stacks = new Set<string>();
  let repeated = 0;
  await deps.db.transaction().execute(async (trx) => {
    for (const event of events) {
      const { tenant, name } = receiver;
      // Before any stack is touched: a repeat costs one row that is there already.
      const isNew = event.key === undefined || (await recordDelivery(trx, { tenant, receiver: name, key: event.key }));
      if (!isNew) {
        repeated += 1;
        continue;
      }
      for (const repository of await followedRepositories(trx, tenant, event.repository)) {
        const push = { tenant, repository, by: `receiver/${name}` };
        for (const id of await requestReconcileByRepository(trx, push)) stacks.add(id);
      }
    }
  });
  return { stacks: [...stacks], repeated };
}

async function read(deps: RouteDeps, receiver: ReceiverRow, request: FastifyRequest): Promise<Delivery> {
  const secret = (await openSecret(deps, receiver.tenant, receiver.secret))?.[receiver.secret_key];
  if (secret === undefined) {
    request.log.warn({ tenant: receiver.tenant, receiver: receiver.name }, 'the secret of a receiver is not kept here');
    throw new Problem(
      'unavailable',
      'the receiver cannot check who sends: the secret it names does not exist, or is kept in an external store that the service does not read',
    );
  }
  const raw = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
  return RECEIVERS[receiver.type]({ raw, headers: request.headers }, secret);
}

/**
 * `POST /hooks/<unguessable>`: a push is only a hint. Forged, malformed or repeated ones change nothing; authentic
 * ones that concern nobody are accepted all the same, because senders repeat what is refused for ever.
 */
export function hookRoutes(app: App, deps: RouteDeps): void {
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: HOOK_BODY_LIMIT }, (_request, body, done) =>
    done(null, body),
  );

  const Accepted = Type.Object({
    stacks: Type.Integer({ description: 'stacks that will be looked at' }),
    repeated: Type.Integer(),
    ignored: Type.Integer({ description: 'events that name no version' }),
  });
  const answers = { 202: Accepted, ...problems };
  const count = ({ tenant, type }: Pick<ReceiverRow, 'tenant' | 'type'>, outcome: string) =>
    deps.metrics.webhooks.inc({ tenant, type, outcome });

  app.post(
    '/hooks/:path',
    {
      config: { route: 'hook' },
      bodyLimit: HOOK_BODY_LIMIT,
      schema: {
        tags: ['service'],
        security: [],
        params: Type.Object({ path: Type.String({ maxLength: 128 }) }),
        response: answers,
      },
    },
    async (request, reply) => {
      const receiver = await findByPath(deps.db, request.params.path);
      if (receiver === undefined) throw notFound('a receiver of this path');
      if (receiver.suspended) {
        count(receiver, 'suspended');
        throw new Problem('unavailable', 'the receiver is suspended');
      }
      const delivery = await read(deps, receiver, request);
      switch (delivery.kind) {
        case 'forged':
          count(receiver, 'forged');
          throw new Problem('unauthenticated', 'the request does not show the secret of the receiver');
        case 'unsupported':
          count(receiver, 'malformed');
          throw new Problem('unsupported-media-type', delivery.detail);
        case 'malformed':
          count(receiver, 'malformed');
          throw new Problem('malformed', delivery.detail);
        case 'authentic':
      }
      const { stacks, repeated } = await accept(deps, receiver, delivery.events);
      count(receiver, stacks.length > 0 ? 'accepted' : repeated > 0 ? 'repeated' : 'ignored');
      await Promise.all(stacks.map((stackId) => ringStack(deps, { tenant: receiver.tenant, stackId })));
      return reply.code(202).send({ stacks: stacks.length, repeated, ignored: delivery.ignored });
    },
  );
}
