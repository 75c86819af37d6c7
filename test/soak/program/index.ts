import { readFileSync } from 'node:fs';
import os from 'node:os';
import { join } from 'node:path';
import * as pulumi from '@pulumi/pulumi';

interface Thing {
  name: string;
  size: number;
  /** Another zone replaces it; an odd one deletes before it creates. */
  zone: number;
}

interface Made extends Thing {
  id: string;
}

/** Asks the cloud; its address is in the environment, so that it never enters the state. */
async function ask(method: string, path: string, body?: Thing): Promise<Made | undefined> {
  const response = await fetch(`${process.env['CLOUD_URL']}${path}`, {
    method,
    // The host name of a run is its own.
    headers: { 'x-run': os.hostname() },
    ...(body !== undefined && { body: JSON.stringify(body) }),
    signal: AbortSignal.timeout(20_000),
  });
  if (response.status === 404) return undefined;
  if (!response.ok) throw new Error(`the cloud answered ${response.status} to ${method} ${path}`);
  // The cloud of the soak answers with what it was given.
  return (await response.json()) as Made;
}

const provider: pulumi.dynamic.ResourceProvider<Thing, Thing> = {
  async diff(_id, olds, news) {
    const replaces = olds.zone === news.zone ? [] : ['zone'];
    return {
      changes: olds.size !== news.size || replaces.length > 0,
      replaces,
      deleteBeforeReplace: news.zone % 2 === 1,
    };
  },
  async create({ name, size, zone }) {
    const made = await ask('POST', '/objects', { name, size, zone });
    if (made === undefined) throw new Error('the cloud made nothing');
    return { id: made.id, outs: { name, size, zone } };
  },
  async read(id, props) {
    const found = await ask('GET', `/objects/${id}`);
    if (found === undefined || props === undefined) return {};
    return { id, props: { ...props, name: found.name, size: found.size, zone: found.zone } };
  },
  async update(id, _olds, { name, size, zone }) {
    await ask('PUT', `/objects/${id}`, { name, size, zone });
    return { outs: { name, size, zone } };
  },
  async delete(id) {
    await ask('DELETE', `/objects/${id}`);
  },
};

class CloudObject extends pulumi.dynamic.Resource {
  constructor(name: string, wanted: { size: number; zone: number }) {
    super(provider, name, { name, ...wanted });
  }
}

// Written by the soak itself.
const desired = JSON.parse(readFileSync(join(import.meta.dirname, 'desired.json'), 'utf8')) as Record<
  string,
  { size: number; zone: number }
>;
for (const [name, wanted] of Object.entries(desired)) new CloudObject(name, wanted);
