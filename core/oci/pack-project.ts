import { readFile, stat } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { parse } from 'yaml';
import { stalled } from '#core/domain/errors.ts';
import { field } from './body.ts';

/** What Pulumi.yaml says of a program. */
export interface PackedProject {
  name: string;
  runtime: string;
  description: string | undefined;
  /** What says so: Pulumi.yaml, or PulumiPolicy.yaml of a policy pack. */
  file: string;
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

/** The file that says what a folder is: a program, or a policy pack, which has no name of its own. */
async function projectFile(dir: string) {
  for (const [name, isPack] of [
    ['Pulumi.yaml', false],
    ['PulumiPolicy.yaml', true],
  ] as const) {
    const file = join(dir, name);
    const info = await stat(file).catch(() => undefined);
    if (info?.isFile() === true) return { file, size: info.size, isPack };
  }
  throw stalled(
    'ProgramInvalid',
    `${dir} has no Pulumi.yaml; name the folder of a Pulumi program, or of a policy pack with PulumiPolicy.yaml`,
  );
}

/** @throws ReconcileError stalled ProgramInvalid: no Pulumi.yaml (or PulumiPolicy.yaml), or one without name or runtime */
export async function readPackedProject(dir: string): Promise<PackedProject> {
  const { file, size, isPack } = await projectFile(dir);
  if (size > MAX_PROJECT_BYTES) throw stalled('ProgramInvalid', `${file} is larger than ${MAX_PROJECT_BYTES} bytes`);
  const project = parseYaml(await readFile(file, 'utf8'), file);
  const name = isPack ? basename(resolve(dir)) : field(project, 'name');
  const runtime = field(project, 'runtime');
  const runtimeName = typeof runtime === 'string' ? runtime : field(runtime, 'name');
  const description = field(project, 'description');
  if (typeof name !== 'string' || name === '') throw stalled('ProgramInvalid', `${file} has no name`);
  if (typeof runtimeName !== 'string') {
    throw stalled('ProgramInvalid', `${file} names no runtime, such as nodejs or yaml`);
  }
  const said = typeof description === 'string' ? description.slice(0, MAX_DESCRIPTION) : undefined;
  return { name, runtime: runtimeName, description: said, file: basename(file) };
}
