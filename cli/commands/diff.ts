import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join, resolve } from 'node:path';
import type { Command } from 'commander';
import { diffPrograms, type ArtifactDiff, type DiffSide, type FileDiff, type ValueDiff } from '#core/oci/diff.ts';
import { listProgram, listTree } from '#core/oci/pack-files.ts';
import { TREE } from '#core/oci/unpack-artifact.ts';
import { createContext, type Context } from '../context.ts';
import { usage } from '../error.ts';
import { printable, printableLines } from '../printable.ts';
import type { RegistryFlags } from '../registry-access.ts';
import { pullReference, selectionOptions, type SelectionFlags } from './pull.ts';
import { showPlan } from './runs.ts';

type DiffFlags = RegistryFlags & SelectionFlags & { nameOnly?: boolean };

/** A folder as it would be pushed, or an artifact as it would be unpacked. */
async function sideOf(text: string, context: Context, flags: DiffFlags, scratches: string[]): Promise<DiffSide> {
  if (!text.startsWith('oci://')) {
    const dir = resolve(text);
    return { dir, files: await listProgram(dir), artifact: undefined };
  }
  const scratch = await mkdtemp(join(tmpdir(), 'plumb-diff-'));
  scratches.push(scratch);
  const { artifact } = await pullReference(text, scratch, context, flags);
  const dir = join(scratch, TREE);
  return { dir, files: await listTree(dir), artifact };
}

const LETTERS = { added: 'A', removed: 'D', changed: 'M' } as const satisfies Record<FileDiff['change'], string>;
const NOTES = {
  text: '',
  binary: ' (no text, or a large one)',
  mode: ' (whether it can be run)',
  link: ' (a link)',
  type: ' (another kind of file)',
} as const satisfies Record<FileDiff['kind'], string>;

function renderValue(what: string, { name, before, after }: ValueDiff): string {
  const show = (value: string | undefined) => (value === undefined ? 'nothing' : printable(value));
  return `${what} ${printable(name)}: ${show(before)} → ${show(after)}`;
}

function renderFile({ path, change, kind, patch }: FileDiff, nameOnly: boolean): string {
  const line = `${LETTERS[change]} ${printable(path)}${NOTES[kind]}`;
  return patch === undefined || nameOnly ? line : `${line}\n${printableLines(patch).trimEnd()}`;
}

function render(diff: ArtifactDiff, nameOnly: boolean): string {
  if (diff.same) return 'no difference';
  return [
    ...diff.annotations.map((each) => renderValue('annotation', each)),
    ...diff.layers.map((each) => renderValue('layer', each)),
    ...diff.files.map((each) => renderFile(each, nameOnly)),
  ].join('\n');
}

async function diff(before: string, after: string, flags: DiffFlags, command: Command): Promise<void> {
  const context = createContext(command);
  const scratches: string[] = [];
  try {
    const a = await sideOf(before, context, flags, scratches);
    const found = await diffPrograms(a, await sideOf(after, context, flags, scratches));
    context.print(found, () => render(found, flags.nameOnly === true));
    if (!found.same) process.exitCode = 1;
  } finally {
    for (const scratch of scratches) await rm(scratch, { recursive: true, force: true });
  }
}

/** A path or a reference is no stack; asking the service for one would only say that it has no such name. */
async function diffStack(name: string, command: Command): Promise<void> {
  if (/[/:.]/.test(name)) throw usage(`${name} is one program; name the one to compare it with too`);
  await showPlan(name, command);
}

/**
 * `plumb diff STACK`: what a plan would change. `plumb diff A B`: what changes between two programs; ends with 1 when they
 * differ, as `diff` does.
 */
export function diffCommand(program: Command): void {
  selectionOptions(
    program
      .command('diff <stack|a> [b]')
      .description(
        'what the plan of a run of a stack would change; or what differs between two programs, each oci://host/name:tag (or @digest) or a folder as it would be pushed',
      )
      .option('--run <number>', 'of the stack; default: the one under way, else the one with the newest plan')
      .option('--plain-http', 'reach the registries by plain HTTP')
      .option('--name-only', 'names of files without what changed in them'),
  )
    .addHelpText('after', '\nExit codes for two programs: 0 the same, 1 they differ or it failed, 2 wrong arguments.')
    .action((a: string, b: string | undefined, flags: DiffFlags, command: Command) =>
      b === undefined ? diffStack(a, command) : diff(a, b, flags, command),
    );
}
