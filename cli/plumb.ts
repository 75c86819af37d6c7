import { Command, CommanderError } from 'commander';
import { ReconcileError } from '#core/domain/errors.ts';
import { applyCommand } from './commands/apply.ts';
import { artifactCommands } from './commands/artifacts.ts';
import { copyCommand } from './commands/copy.ts';
import { describeCommand } from './commands/describe.ts';
import { driftCommand } from './commands/drift.ts';
import { eventsCommand } from './commands/events.ts';
import { execCommand } from './commands/exec.ts';
import { getCommand } from './commands/get.ts';
import { overrideCommand } from './commands/override.ts';
import { pendingCommand } from './commands/pending.ts';
import { registryCommand } from './commands/registry.ts';
import { logsCommand } from './commands/logs.ts';
import { runCommands } from './commands/runs.ts';
import { signCommands } from './commands/sign.ts';
import { stackCommands } from './commands/stacks.ts';
import { stateRequestCommands } from './commands/state-requests.ts';
import { stateCommand } from './commands/state.ts';
import { verifyCommand } from './commands/verify.ts';
import { CliError } from './error.ts';
import { printable } from './printable.ts';

const HELP = `
Environment: PLUMBLINE_URL, PLUMBLINE_TOKEN or PLUMBLINE_TOKEN_FILE, PLUMBLINE_TENANT;
for registries PLUMBLINE_REGISTRY_USERNAME and PLUMBLINE_REGISTRY_PASSWORD, or Docker's config.json.
Exit codes: 0 it worked, 1 it failed, 2 the arguments or settings are wrong.`;

const FILE_CODES: ReadonlySet<unknown> = new Set([
  'EACCES',
  'EDQUOT',
  'EEXIST',
  'EISDIR',
  'ELOOP',
  'ENAMETOOLONG',
  'ENOENT',
  'ENOSPC',
  'ENOTDIR',
  'EPERM',
  'EROFS',
]);

/** In the order of the help. */
const COMMANDS = [
  artifactCommands,
  signCommands,
  verifyCommand,
  copyCommand,
  applyCommand,
  getCommand,
  describeCommand,
  stackCommands,
  stateRequestCommands,
  runCommands,
  logsCommand,
  overrideCommand,
  driftCommand,
  eventsCommand,
  pendingCommand,
  execCommand,
  stateCommand,
  registryCommand,
];

function createProgram(): Command {
  const program = new Command('plumb')
    .description('keeps infrastructure plumb: Pulumi programs from an OCI registry')
    .option('--url <url>', 'address of the service')
    .option('--tenant <name>', 'tenant to work in')
    .option('-o, --output <format>', 'text or json')
    .exitOverride()
    .showHelpAfterError('(see plumb --help)')
    .addHelpText('after', HELP);
  for (const add of COMMANDS) add(program);
  return program;
}

/** Of the file system, which names the call and, where it had one, the path. */
function isFileError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error && FILE_CODES.has(error.code);
}

/** Prints an error in one sentence and says what to end with. A defect shows its stack, so that it can be reported. */
function report(error: unknown): number {
  // Commander has printed it.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof CliError) {
    process.stderr.write(`plumb: ${error.message}\n`);
    return error.exitCode;
  }
  if (error instanceof ReconcileError) {
    process.stderr.write(`plumb: ${error.message} [${error.reason}]\n`);
    return error.reason === 'InvalidReference' ? 2 : 1;
  }
  // A folder that cannot be written and a full disk are no defects.
  if (isFileError(error)) {
    process.stderr.write(`plumb: ${printable(error.message)}; make room there, or name another place\n`);
    return 1;
  }
  process.stderr.write(`plumb: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  return 1;
}

// `plumb get stacks -o json | head` closes our output early: that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1));

try {
  await createProgram().parseAsync();
} catch (error) {
  process.exitCode = report(error);
}
