import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parse } from 'yaml';
import { stalled } from '../domain/errors.ts';
import { documentAt, isDocument, type Document } from './json-document.ts';

/** Language hosts this installation brings along. */
export const RUNTIMES = ['nodejs', 'yaml'] as const;
export type Runtime = (typeof RUNTIMES)[number];

/** What Plumbline needs of a program's Pulumi.yaml. */
export interface Project {
  name: string;
  runtime: Runtime;
  options: Record<string, unknown>;
}

/** A project file is a few lines; this bounds what the YAML parser is fed. */
const MAX_PROJECT_BYTES = 256 * 1024;

function refuse(message: string): never {
  throw stalled('ProgramInvalid', `Pulumi.yaml: ${message}`);
}

async function readDocument(programDir: string): Promise<Document> {
  let text: string;
  try {
    text = await readFile(join(programDir, 'Pulumi.yaml'), 'utf8');
  } catch (cause) {
    throw stalled(
      'ProgramInvalid',
      'the artifact holds no Pulumi.yaml at spec.source.path; push the folder of a Pulumi program',
      cause,
    );
  }
  if (text.length > MAX_PROJECT_BYTES) refuse(`is larger than ${MAX_PROJECT_BYTES} bytes`);
  let document: unknown;
  try {
    document = parse(text, { maxAliasCount: 20 });
  } catch (cause) {
    refuse(`is not valid YAML: ${cause instanceof Error ? cause.message : String(cause)}`);
  }
  return isDocument(document) ? document : refuse('is not a mapping');
}

function hasPluginPath(plugins: unknown): boolean {
  if (!isDocument(plugins)) return false;
  return Object.values(plugins).some(
    (list) => Array.isArray(list) && list.some((plugin) => isDocument(plugin) && plugin['path'] !== undefined),
  );
}

/** Settings that would let an artifact choose where its state lies, what binary runs or when the state is refreshed. */
function refuseSettings(document: Document, options: Document): void {
  const project = documentAt(document, 'options');
  if (document['backend'] !== undefined)
    refuse("backend is not the program's to choose; set spec.pulumi.backend of the Stack");
  if (hasPluginPath(document['plugins'])) refuse('plugins with a path run a binary of the artifact; remove them');
  if (project['refresh'] !== undefined)
    refuse('options.refresh would change the state under an approved plan; remove it');
  if (document['stackConfigDir'] !== undefined) refuse('stackConfigDir moves the settings Plumbline writes; remove it');
  if (options['compiler'] !== undefined)
    refuse('runtime.options.compiler runs a command of the artifact; commit its output instead');
  if (options['nodeargs'] !== undefined)
    refuse('runtime.options.nodeargs would change the Node.js the program runs on; remove it');
}

function asRuntime(name: unknown): Runtime {
  const known = RUNTIMES.find((runtime) => runtime === name);
  return (
    known ??
    refuse(`runtime ${JSON.stringify(name)} is not available here; this version runs ${RUNTIMES.join(' and ')}`)
  );
}

/**
 * Reads Pulumi.yaml and decides whether the program may run at all.
 * @throws ReconcileError stalled(ProgramInvalid) that names the setting and what to do.
 */
export async function readProject(programDir: string): Promise<Project> {
  const document = await readDocument(programDir);
  const name = document['name'];
  if (typeof name !== 'string' || !/^(?!\.+$)[A-Za-z0-9_.-]{1,100}$/.test(name)) {
    refuse('name must be 1 to 100 letters, digits, dots, dashes or underscores, and not dots alone');
  }
  const declared = document['runtime'];
  const runtime = isDocument(declared) ? declared : { name: declared };
  const options = documentAt(runtime, 'options');
  refuseSettings(document, options);
  return { name, runtime: asRuntime(runtime['name']), options };
}
