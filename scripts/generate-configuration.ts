import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { ConfigSchema } from '../core/config.ts';
import { checkout } from '../toolchain/paths.ts';

/** What of a setting's JSON Schema the table shows. */
interface Setting {
  type?: string;
  default?: unknown;
  description?: string;
  minimum?: number;
  maximum?: number;
  enum?: unknown[];
}

/** Writes docs/configuration.md from the schema in core/config.ts. */
async function main(): Promise<void> {
  // Seen as plain JSON Schema: TypeBox's types of enumerations have no properties.
  const properties = JSON.parse(JSON.stringify(ConfigSchema.properties)) as Record<string, Setting>;
  const settings = Object.entries(properties);
  const rows = settings.map(([name, setting]) =>
    row([`\`${name}\``, takes(setting), shown(setting.default), setting.description ?? '']),
  );
  const text = [
    '# Configuration',
    '',
    'Generated from `core/config.ts` by `npm run verify`; do not edit. Every setting is an environment variable.',
    '',
    row(['Variable', 'Takes', 'Default', 'Meaning']),
    row(['---', '---', '---', '---']),
    ...rows,
    '',
  ];
  await writeFile(join(checkout, 'docs', 'configuration.md'), text.join('\n'));
}

function row(cells: string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll('|', String.raw`\|`)).join(' | ')} |`;
}

function takes({ type, enum: choices, minimum, maximum }: Setting): string {
  if (choices !== undefined) return choices.map((choice) => `\`${String(choice)}\``).join(', ');
  if (minimum === undefined) return type ?? '';
  return maximum === undefined ? `${type ?? ''} ≥ ${minimum}` : `${type ?? ''} ${minimum}–${maximum}`;
}

function shown(value: unknown): string {
  return value === '' || value === undefined ? '' : `\`${JSON.stringify(value).replaceAll('"', '')}\``;
}

await main();
