import { Type } from 'typebox';
import { Name } from '#core/domain/manifest-parts.ts';
import { EventView, pageOf as PageOf } from '#core/domain/view.ts';
import { EVENT_CURSOR_PATTERN, eventCursor, listEvents, newestEvents } from '#core/store/events.ts';
import type { App, RouteDeps } from '../deps.ts';
import { requireStack } from '../stack.ts';
import { eventView } from '../views.ts';
import { decodeCursor, encodeCursor, pageOf } from './cursor.ts';
import { DEFAULT_PAGE, PageQuery, problems, TenantParams } from './schema.ts';

const EventsQuery = Type.Object(
  {
    ...PageQuery.properties,
    stack: Type.Optional(Name),
    order: Type.Optional(
      Type.Union([Type.Literal('newest'), Type.Literal('oldest')], {
        default: 'newest',
        description: '`oldest` never skips an event: `next` is then always a cursor to go on from, also at the end',
      }),
    ),
  },
  { additionalProperties: false },
);

/** The diary of a tenant. */
export function eventRoutes(app: App, deps: RouteDeps): void {
  app.get(
    '/v1/tenants/:tenant/events',
    {
      config: { route: 'events.list' },
      schema: {
        tags: ['events'],
        params: TenantParams,
        querystring: EventsQuery,
        response: { 200: PageOf(EventView), ...problems },
      },
    },
    async (request) => {
      const { tenant } = request.params;
      const { limit = DEFAULT_PAGE, cursor, stack, order = 'newest' } = request.query;
      const position = decodeCursor(cursor, EVENT_CURSOR_PATTERN);
      const of = stack === undefined ? undefined : await requireStack(deps, { tenant, stack });
      const at = { tenant, ...(of !== undefined && { stackId: of.id }) };
      if (order === 'newest') {
        const before = position === undefined ? {} : { before: position };
        return pageOf(
          await newestEvents(deps.db, { ...at, ...before, limit: limit + 1 }),
          limit,
          eventView,
          eventCursor,
        );
      }
      const after = position === undefined ? {} : { after: position };
      const rows = await listEvents(deps.db, { ...at, ...after, limit });
      const last = rows.at(-1);
      const next = last === undefined ? (cursor ?? null) : encodeCursor(eventCursor(last));
      return { items: rows.map(eventView), next };
    },
  );
}
