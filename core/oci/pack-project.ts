import { readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { stalled } from '#core/domain/errors.ts';
import { field } from './body.ts';

/** What Pulumi.yaml says of a program. */
export interface PackedProject {
  name: string;
  runtime: string;
  description: string | undefined;
}

const MAX_PROJECT_BYTES = 1024 * 1024;
const MAX_DESCRIPTION = 1_000;

function parseYaml(text: string, file: string): unknown {
  try {
    return parse(text, { maxAliasCount: 20 });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw stalled('ProgramInvalid', `${file} is not valid YAML: ${why}`, error);
  }
}

/** @throws ReconcileError stalled ProgramInvalid: no Pulumi.yaml, or one without name or runtime */
export async function readPackedProject(dir: string): Promise<PackedProject> {
  const file = join(dir, 'Pulumi.yaml');
  const info = await stat(file).catch(() => undefined);
  if (info === undefined || !info.isFile()) {
    throw stalled('ProgramInvalid', `${dir} has no Pulumi.yaml; name the folder of a Pulumi program`);
  }
  if (info.size > MAX_PROJECT_BYTES)
    throw stalled('ProgramInvalid', `${file} is larger than ${MAX_PROJECT_BYTES} bytes`);
  const project = parseYaml(await readFile(file, 'utf8'), file);
  const name = field(project, 'name');
  const runtime = field(project, 'runtime');
  const runtimeName = typeof runtime === 'string' ? runtime : field(runtime, 'name');
  const description = field(project, 'description');
  if (typeof name !== 'string' || name === '') throw stalled('ProgramInvalid', `${file} has no name`);
  if (typeof runtimeName !== 'string') {
    throw stalled('ProgramInvalid', `${file} names no runtime, such as nodejs or yaml`);
  }
  const said = typeof description === 'string' ? description.slice(0, MAX_DESCRIPTION) : undefined;
  return { name, runtime: runtimeName, description: said };
}
