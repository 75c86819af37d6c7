import { spawn, type ChildProcess } from 'node:child_process';
import { programEnvironment } from './private-variables.ts';
import { foreignPrefix } from './privilege.ts';
import { resolveSdk } from './sdk.ts';

/** One call of the engine's `Run`, as far as a Node.js program needs it. */
export interface ProgramRun {
  project: string;
  stack: string;
  organization: string;
  programDir: string;
  rootDirectory: string;
  pwd: string;
  entryPoint: string;
  args: string[];
  config: Record<string, string>;
  secretKeys: string[];
  dryRun: boolean;
  parallel: number;
  monitorAddress: string;
  engineAddress: string;
  /** `runtime.options` of Pulumi.yaml. */
  options: Record<string, unknown>;
}

/** What the engine is told: `bail` means the user has already seen the reason. */
export interface ProgramResult {
  error: string;
  bail: boolean;
}

/** The SDK's `cmd/run` ends with this code when it has reported the error to the engine itself. */
const EXITED_AFTER_REPORTING = 32;

function commandLine(run: ProgramRun, runner: string): string[] {
  const flags: [string, string][] = [
    ['monitor', run.monitorAddress],
    ['engine', run.engineAddress],
    ['organization', run.organization],
    ['project', run.project],
    ['root-directory', run.rootDirectory],
    ['stack', run.stack],
    ['pwd', run.pwd],
    ['parallel', String(run.parallel)],
  ];
  return [
    runner,
    ...flags.flatMap(([name, value]) => (value === '' ? [] : [`--${name}`, value])),
    ...(run.dryRun ? ['--dry-run'] : []),
    run.entryPoint,
    ...run.args,
  ];
}

/** The SDK's switches; TypeScript through ts-node is its own default, `typescript: false` leaves the stripping to Node. */
function runtimeVariables(run: ProgramRun): Record<string, string> {
  const tsconfig = run.options['tsconfig'];
  return {
    PULUMI_CONFIG: JSON.stringify(run.config),
    PULUMI_CONFIG_SECRET_KEYS: JSON.stringify(run.secretKeys),
    ...(run.options['typescript'] === false ? {} : { PULUMI_NODEJS_TYPESCRIPT: 'true' }),
    ...(typeof tsconfig === 'string' && tsconfig !== '' ? { PULUMI_NODEJS_TSCONFIG_PATH: tsconfig } : {}),
  };
}

function describeExit(code: number | null, signal: NodeJS.Signals | null): ProgramResult {
  if (code === 0) return { error: '', bail: false };
  if (code === EXITED_AFTER_REPORTING) return { error: '', bail: true };
  if (code !== null) return { error: `Program exited with non-zero exit code: ${code}`, bail: false };
  return { error: `Program was ended by signal ${signal}`, bail: false };
}

/**
 * Runs the program in a child of its own with the program's own SDK; its output is inherited, so that the engine shows it.
 * @param started receives the child, so that the host can end it when it is told to.
 */
export function runProgram(run: ProgramRun, started: (child: ChildProcess) => void): Promise<ProgramResult> {
  const runner = resolveSdk(run.programDir, 'cmd/run');
  const [command = '', ...args] = [...foreignPrefix('program'), process.execPath, ...commandLine(run, runner)];
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, {
      cwd: run.programDir,
      env: { ...programEnvironment(process.env), ...runtimeVariables(run) },
      stdio: ['ignore', 'inherit', 'inherit'],
    });
    started(child);
    child.on('error', reject);
    child.on('exit', (code, signal) => resolve(describeExit(code, signal)));
  });
}
