import { Type } from 'typebox';
import { actorOf } from '#core/domain/authorize.ts';
import { Name, TokenSpec } from '#core/domain/manifest.ts';
import { NewTokenView, pageOf as PageOf, ReceiverView, SecretView, TenantView, TokenView } from '#core/domain/view.ts';
import { listReceivers } from '#core/store/receivers.ts';
import { listSecrets } from '#core/store/secrets.ts';
import { getTenant, listTenants } from '#core/store/tenants.ts';
import { deleteToken, listTokens } from '#core/store/tokens.ts';
import { principalOf } from '../auth.ts';
import type { App, RouteDeps } from '../deps.ts';
import { notFound, Problem } from '../problem.ts';
import { issueToken } from '../tokens.ts';
import { receiverView, secretView, tenantView, tokenView } from '../views.ts';
import { problems, TenantParams } from './schema.ts';

const tags = ['access'];
const base = '/v1/tenants/:tenant';
