import type { ReceiverType } from '#core/domain/manifest.ts';
import { distribution } from './distribution.ts';
import { genericHmac } from './generic-hmac.ts';
import type { Receiver } from './receiver.ts';

/** Every inbound format; a new one is a file and a line here. */
export const RECEIVERS: Record<ReceiverType, Receiver> = {
  distribution,
  'generic-hmac': genericHmac,
};
