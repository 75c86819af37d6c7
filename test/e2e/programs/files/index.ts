import * as pulumi from '@pulumi/pulumi';
import { TextFile } from './text-file.ts';

const config = new pulumi.Config();
const behaviour = config.get('behaviour') ?? 'normal';
const files = config.getObject<Record<string, string>>('files') ?? {};
const renamed = config.getObject<Record<string, string>>('renamed') ?? {};
const protect = config.getBoolean('protect') ?? false;

switch (behaviour) {
  case 'throw':
    throw new Error('the program threw on purpose');
  case 'exit':
    process.exit(3);
  case 'chatter':
    for (let line = 0; line < 20_000; line++) console.log(`${line} ${'x'.repeat(50)}`);
    break;
  case 'hang':
    await new Promise((resolve) => setTimeout(resolve, 3_600_000));
    break;
  case 'environment':
    console.log(`variables: ${Object.keys(process.env).join(' ')}`);
    break;
}

const made = Object.entries(files).map(
  ([key, text]) => new TextFile(key, { name: renamed[key] ?? key, text }, { protect }),
);
const [first] = made;
if (config.getBoolean('follow') && first)
  new TextFile('follower', { name: 'follower', text: pulumi.interpolate`${first.size} characters` });
// A resource nobody can see before the apply: it depends on what is unknown until then.
if (behaviour === 'inside' && first)
  first.size.apply((size) => new TextFile('inside', { name: 'inside', text: `${size}` }));
const secret = config.getSecret('secret');
if (secret !== undefined) new TextFile('secret', { name: 'secret', text: secret });

export const names = made.map((file) => file.name);
