import * as pulumi from '@pulumi/pulumi';
import { TextFile } from './text-file.ts';

const config = new pulumi.Config();
const behaviour = config.get('behaviour') ?? 'normal';
const files = config.getObject<Record<string, string>>('files') ?? {};

if (behaviour === 'throw') throw new Error('the program threw on purpose');
if (behaviour === 'exit') process.exit(3);
if (behaviour === 'chatter') for (let line = 0; line < 20_000; line++) console.log(`${line} ${'x'.repeat(50)}`);
if (behaviour === 'hang') await new Promise((resolve) => setTimeout(resolve, 3_600_000));

const made = Object.entries(files).map(([name, text]) => new TextFile(name, { name, text }));
const secret = config.getSecret('secret');
if (secret !== undefined) made.push(new TextFile('secret', { name: 'secret', text: secret }));

export const names = made.map((file) => file.name);
