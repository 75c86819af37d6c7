import { setTimeout as delay } from 'node:timers/promises';
import { identify, isRunning } from './process.ts';

/** A server that has been started or attached to. */
export interface Server {
  url: string;
  pid: number;
  stop(): Promise<void>;
}

/** A server that is started again when it dies. */
export interface KeptServer {
  url: string;
  /** Ends the watch, then this process's use of the server. */
  stop(): Promise<void>;
}

const lookEveryMs = 1000;

/**
 * Starts a server and starts it again, at the same address, whenever its process is found dead. Several processes may watch
 * the same one: `start` attaches where another was quicker.
 * @param told takes what happened, for the log; a start that fails is tried again a second later.
 */
export async function keepRunning(
  name: string,
  start: () => Promise<Server>,
  told: (text: string) => void,
): Promise<KeptServer> {
  let server = await start();
  const { url } = server;
  const stopping = new AbortController();
  const watched = watch();

  async function watch(): Promise<void> {
    let id = await identify(server.pid);
    while (await pause(stopping.signal)) {
      if (id !== undefined && (await isRunning(id))) continue;
      told(`${name} (process ${server.pid}) died; starting it again`);
      try {
        const next = await start();
        await server.stop();
        server = next;
        id = await identify(next.pid);
        if (next.url !== url) told(`${name} has another address now: restart Plumbline`);
      } catch (error) {
        told(`${name} could not be started again: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }

  return {
    url,
    stop: async () => {
      stopping.abort();
      await watched;
      await server.stop();
    },
  };
}

/** Waits for the next look; false when it is time to stop. Never keeps the process alive. */
async function pause(stop: AbortSignal): Promise<boolean> {
  await delay(lookEveryMs, undefined, { signal: stop, ref: false }).catch(() => undefined);
  return !stop.aborted;
}
