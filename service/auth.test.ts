import { createSecretKey, randomBytes } from 'node:crypto';
import type { TypeBoxTypeProvider } from '@fastify/type-provider-typebox';
import fastify from 'fastify';
import { pino } from 'pino';
import { afterAll, describe, expect, it } from 'vitest';
import type { RouteId } from '#core/domain/authorize.ts';
import { openDatabase } from '#core/store/database.ts';
import { guardRoutes } from './auth.ts';
import { createServiceMetrics } from './metrics.ts';

const db = openDatabase('postgres://127.0.0.1:1/none');
afterAll(() => db.destroy());
const nothing = () => Promise.reject(new Error('nothing is connected'));

function guarded() {
  const app = fastify({ exposeHeadRoutes: false }).withTypeProvider<TypeBoxTypeProvider>();
  guardRoutes(app, {
    db,
    ring: { ring: nothing, waiting: nothing, ping: nothing },
    masterKey: { master: createSecretKey(randomBytes(32)) },
    logger: pino({ level: 'silent' }),
    scrubber: { register: () => undefined },
    now: () => new Date(),
    metrics: createServiceMetrics(),
  });
  return app;
}

const route = (id: RouteId) => ({ config: { route: id } });

describe('the authorization table', () => {
  it('lets no route in that names none of its rows', () => {
    expect(() => guarded().get('/secret-door', () => 'in')).toThrow(/GET \/secret-door names no row/);
  });

  it('lets no route in under the row of another', () => {
    const app = guarded();
    app.get('/healthz', route('healthz'), () => 'alive');
    expect(() => app.get('/other', route('healthz'), () => 'in')).toThrow(/uses healthz a second time/);
  });

  it('keeps no row whose route is gone', async () => {
    const app = guarded();
    app.get('/healthz', route('healthz'), () => 'alive');
    await expect(app.ready()).rejects.toThrow(/routes that do not exist: readyz, /);
  });
});
