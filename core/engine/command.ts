import type { PulumiCommand } from '@pulumi/pulumi/automation/index.js';
import { SemVer } from 'semver';

/** What an engine process printed and how it ended. */
export interface CommandResult {
  stdout: string;
  stderr: string;
  code: number;
}

/** Runs the engine once, with exactly these arguments; both streams go to `onOutput`. */
export type ExecuteCommand = (args: string[], onOutput: (text: string) => void) => Promise<CommandResult>;

/** The engine ended with another code than 0; the adapter finds out why from its events and output. */
export class EngineCommandError extends Error {
  readonly result: CommandResult;

  constructor(result: CommandResult) {
    super(`the engine ended with code ${result.code}`);
    this.name = 'EngineCommandError';
    this.result = result;
  }
}

/**
 * Commands the Automation API makes around an operation, whose answers nobody here needs: each would cost a process of
 * 0.2 to 0.4 s (reference/pulumi.md, 12).
 */
const ANSWERED: Record<string, string> = { 'stack select': '', 'stack output': '{}', 'stack history': '[]' };

/** `up` and `destroy` must preview first: there the plan is checked and the gate asked while nothing has changed. */
function withoutSkipPreview(args: string[]): string[] {
  return args[0] === 'up' || args[0] === 'destroy' ? args.filter((arg) => arg !== '--skip-preview') : args;
}

/**
 * The `pulumiCommand` of the Automation API. The environment is the caller's alone: neither `process.env` nor what the API
 * would add is passed on.
 * @param extra flags for the operation, which the API has no option for.
 */
export function createPulumiCommand(options: {
  command: string;
  version: string;
  extra: string[];
  execute: ExecuteCommand;
}): PulumiCommand {
  const command = {
    command: options.command,
    version: new SemVer(options.version),
    async run(
      args: string[],
      _cwd: string,
      _env: Record<string, string>,
      onOutput: (text: string) => void = () => undefined,
    ): Promise<CommandResult> {
      const answer = ANSWERED[args.slice(0, 2).join(' ')];
      if (answer !== undefined) return { stdout: answer, stderr: '', code: 0 };
      const extra = args[0] === 'stack' ? [] : options.extra;
      const complete = [...withoutSkipPreview(args), ...extra, '--non-interactive'];
      const result = await options.execute(complete, onOutput);
      if (result.code !== 0) throw new EngineCommandError(result);
      return result;
    },
  };
  // The class of the API has a private constructor and no interface; these members are all it calls (reference/pulumi.md, 12).
  return command as unknown as PulumiCommand;
}
