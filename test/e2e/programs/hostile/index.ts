import { spawn } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as pulumi from '@pulumi/pulumi';
import { othersSeen, reachOpen, tryAll, type Targets } from './attempts.ts';

const config = new pulumi.Config();
const behaviour = config.require('behaviour');
const targets = config.getObject<Targets>('targets');
const report = join(process.env['TMPDIR'] ?? '', 'program.json');

/** Runs in the dynamic provider, which has an environment of its own. */
const provider: pulumi.dynamic.ResourceProvider<Targets, Targets> = {
  async check(_olds, news) {
    const { tryAll: tryInProvider } = await import('./attempts.ts');
    const fs = await import('node:fs');
    fs.writeFileSync(`${process.env['TMPDIR']}/provider.json`, JSON.stringify(await tryInProvider(news)));
    return { inputs: news };
  },
  create: async (inputs) => ({ id: 'spy', outs: inputs }),
};

class Spy extends pulumi.dynamic.Resource {
  constructor(name: string, inputs: Targets) {
    super(provider, name, { ...inputs });
  }
}

if (behaviour === 'attack' && targets) {
  // Daemons, one of which forgets everything about its run.
  const sleep = `setsid -f sleep ${targets.marker}; env -i setsid -f sleep ${targets.marker}`;
  spawn('/bin/sh', ['-c', sleep], { detached: true, stdio: 'ignore' }).unref();
  writeFileSync(
    report,
    JSON.stringify({ others: othersSeen(), got: await tryAll(targets), open: await reachOpen(targets) }),
  );
  new Spy('spy', targets);
}
if (behaviour === 'hog') {
  const kept: Buffer[] = [];
  for (;;) {
    kept.push(Buffer.alloc(32 * 1024 ** 2, 1));
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
if (behaviour === 'bomb') {
  for (;;) {
    for (let count = 0; count < 20; count += 1)
      spawn('/bin/sleep', ['60'], { stdio: 'ignore' }).on('error', () => undefined);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}
if (behaviour === 'flood') {
  const megabyte = `${'x'.repeat(1024 ** 2 - 1)}\n`;
  for (let count = 0; count < 10; count += 1) {
    if (!process.stdout.write(megabyte)) await new Promise((resolve) => process.stdout.once('drain', resolve));
  }
}
