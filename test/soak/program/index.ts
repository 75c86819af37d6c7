import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import * as pulumi from '@pulumi/pulumi';

interface Thing {
  name: string;
  size: number;
}

interface Made extends Thing {
  id: string;
}

/** Asks the cloud; its address is in the environment, so that it never enters the state. */
async function ask(method: string, path: string, body?: Thing): Promise<Made | undefined> {
  const response = await fetch(`${process.env['CLOUD_URL']}${path}`, {
    method,
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
    return { changes: olds.size !== news.size, replaces: [] };
  },
  async create(inputs) {
    const made = await ask('POST', '/objects', { name: inputs.name, size: inputs.size });
    if (made === undefined) throw new Error('the cloud made nothing');
    return { id: made.id, outs: { name: inputs.name, size: inputs.size } };
  },
  async read(id, props) {
    const found = await ask('GET', `/objects/${id}`);
    return found === undefined || props === undefined
      ? {}
      : { id, props: { ...props, name: found.name, size: found.size } };
  },
  async update(id, _olds, news) {
    await ask('PUT', `/objects/${id}`, { name: news.name, size: news.size });
    return { outs: { name: news.name, size: news.size } };
  },
  async delete(id) {
    await ask('DELETE', `/objects/${id}`);
  },
};

class CloudObject extends pulumi.dynamic.Resource {
  constructor(name: string, size: number) {
    super(provider, name, { name, size });
  }
}

// Written by the soak itself.
const desired = JSON.parse(readFileSync(join(import.meta.dirname, 'desired.json'), 'utf8')) as Record<string, number>;
for (const [name, size] of Object.entries(desired)) new CloudObject(name, size);
