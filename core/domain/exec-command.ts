/** How a flag is written: alone (`--force`, `--protect=false`) or with a value (`--target URN`, `--target=URN`). */
type Flag = 'alone' | 'value';

interface Rule {
  /** Words after the subcommand, least and most. */
  words: readonly [number, number];
  flags: Record<string, Flag>;
  /** What is added, so that nothing is asked and no program is run. */
  added: readonly string[];
  /** Whether the state may differ afterwards. */
  writes: boolean;
  /** Whether the stack's settings file is needed. */
  settings?: true;
  /** The state that is imported comes with the request; nothing else is read. */
  input?: true;
}

const YES = ['--yes'] as const;

/**
 * What `plumb exec` lets through, by the engine's own words (3.259.0). Everything that is not here is refused: an update that nobody
 * approved (`up`, `destroy`, `watch`), what prints plain secrets (`config`, `--show-secrets`, `logs`), what changes another stack or
 * all of them (`state move`, `state upgrade`, `stack rm`), what opens an editor, and `cancel`, which removes locks of others.
 */
const RULES: Record<string, Rule> = {
  'stack export': { words: [0, 0], flags: { '--version': 'value' }, added: [], writes: false },
  'stack import': { words: [0, 0], flags: { '--force': 'alone' }, added: [], writes: true, input: true },
  'stack history': {
    words: [0, 0],
    flags: { '--json': 'alone', '--page': 'value', '--page-size': 'value', '--full-dates': 'alone' },
    added: [],
    writes: false,
  },
  'stack output': { words: [0, 1], flags: { '--json': 'alone' }, added: [], writes: false },
  'state delete': {
    words: [1, 1],
    flags: { '--force': 'alone', '--target-dependents': 'alone' },
    added: YES,
    writes: true,
  },
  'state protect': { words: [0, 50], flags: { '--all': 'alone' }, added: YES, writes: true },
  'state unprotect': { words: [0, 50], flags: { '--all': 'alone' }, added: YES, writes: true },
  'state taint': { words: [1, 50], flags: {}, added: YES, writes: true },
  'state untaint': { words: [0, 50], flags: { '--all': 'alone' }, added: YES, writes: true },
  'state rename': { words: [2, 2], flags: {}, added: YES, writes: true },
  'state repair': { words: [0, 0], flags: {}, added: YES, writes: true },
  import: {
    words: [3, 3],
    flags: { '--parent': 'value', '--provider': 'value', '--properties': 'value', '--protect': 'alone' },
    added: ['--yes', '--skip-preview', '--generate-code=false'],
    writes: true,
    settings: true,
  },
  refresh: {
    words: [0, 0],
    flags: { '--target': 'value', '--exclude': 'value', '--diff': 'alone', '--clear-pending-creates': 'alone' },
    added: ['--yes', '--skip-preview', '--run-program=false'],
    writes: true,
    settings: true,
  },
};

const MAX_ARGUMENTS = 64;
const MAX_ARGUMENT = 2_048;

function ruleOf(command: readonly string[]): { name: string; rule: Rule; rest: readonly string[] } | undefined {
  for (const length of [2, 1]) {
    const name = command.slice(0, length).join(' ');
    const rule = Object.hasOwn(RULES, name) ? RULES[name] : undefined;
    if (rule !== undefined && command.length >= length) return { name, rule, rest: command.slice(length) };
  }
  return undefined;
}

function checkArguments(name: string, rule: Rule, rest: readonly string[]): string | undefined {
  let words = 0;
  for (let at = 0; at < rest.length; at += 1) {
    const argument = rest[at] ?? '';
    if (!argument.startsWith('-')) {
      words += 1;
      continue;
    }
    const [flag = '', value] = argument.split(/=(.*)/s, 2);
    const kind = Object.hasOwn(rule.flags, flag) ? rule.flags[flag] : undefined;
    if (kind === undefined) {
      return `${name} takes no ${flag} here; it takes ${Object.keys(rule.flags).join(', ') || 'no flags'}`;
    }
    if (kind === 'alone' && value !== undefined && value !== 'true' && value !== 'false') {
      return `${flag} is written alone, or with =true or =false`;
    }
    if (kind === 'value' && value === undefined) {
      at += 1;
      // What looks like a flag is never taken for a value, so that none passes by this check.
      if (rest[at] === undefined || rest[at]?.startsWith('-') === true) return `${flag} needs a value; write ${flag}=…`;
    }
  }
  const [least, most] = rule.words;
  if (words < least || words > most) {
    return `${name} takes ${least === most ? least : `${least} to ${most}`} words after it, not ${words}`;
  }
  return undefined;
}

/** Why a command is not let through, in words for who asked; undefined when it is. */
export function execRefusal(command: readonly string[], hasInput: boolean): string | undefined {
  if (command.length === 0) return 'say what to do, as in `state delete URN`';
  if (command.length > MAX_ARGUMENTS) return `more than ${MAX_ARGUMENTS} arguments`;
  if (command.some((argument) => argument.length > MAX_ARGUMENT || /\p{Cc}/u.test(argument))) {
    return `an argument is longer than ${MAX_ARGUMENT} characters, or holds a control character`;
  }
  const found = ruleOf(command);
  if (found === undefined) {
    return `pulumi ${command.slice(0, 2).join(' ')} is not let through; what is: ${Object.keys(RULES).join(', ')}`;
  }
  const { name, rule, rest } = found;
  if (rule.input === true && !hasInput) return `${name} needs the state to import (plumb exec --input FILE)`;
  if (rule.input !== true && hasInput) return `${name} reads no input`;
  return checkArguments(name, rule, rest);
}

/** What of an allowed command its run has to know. @throws Error for one that `execRefusal` refuses */
export function execTraits(command: readonly string[]): {
  writes: boolean;
  settings: boolean;
  input: boolean;
  added: string[];
} {
  const found = ruleOf(command);
  if (found === undefined) throw new Error(`pulumi ${command[0] ?? ''} is not let through`);
  const { writes, settings = false, input = false, added } = found.rule;
  return { writes, settings, input, added: [...added] };
}

/** The command of `plumb state export`. */
export const EXPORT_COMMAND: readonly string[] = ['stack', 'export'];

/** Whether what a command prints is the state itself: it goes to who asked for it, and not into the log. */
export function printsState(command: readonly string[]): boolean {
  return ruleOf(command)?.name === EXPORT_COMMAND.join(' ');
}
