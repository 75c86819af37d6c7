/** Whether a path (relative, `/` as separator) is left out of a package. */
export type Ignore = (path: string, isDirectory: boolean) => boolean;

interface Rule {
  pattern: RegExp;
  negated: boolean;
  directoryOnly: boolean;
}

/**
 * Never part of a program: history, dependencies (installed by lock file), secrets, and the settings of single stacks,
 * which come from the Stack manifest. `.npmrc` often holds a token.
 */
export const DEFAULT_IGNORE = [
  '.git',
  'node_modules',
  '.pulumi',
  '.plumbline',
  '.env',
  '.env.*',
  '.npmrc',
  'Pulumi.*.yaml',
  'Pulumi.*.yml',
  '.DS_Store',
  '/.sourceignore',
].join('\n');

function toSource(glob: string): string {
  return glob
    .split(/(\*\*\/|\/\*\*$|\*\*|\*|\?)/)
    .map((part) => {
      if (part === '**/') return '(?:[^/]+/)*';
      if (part === '/**') return '/.*';
      if (part === '*' || part === '**') return '[^/]*';
      return part === '?' ? '[^/]' : part.replace(/[.+^${}()|[\]\\]/g, '\\$&');
    })
    .join('');
}

function toRule(line: string): Rule {
  const negated = line.startsWith('!');
  const text = negated ? line.slice(1) : line;
  const directoryOnly = text.endsWith('/');
  const bare = directoryOnly ? text.slice(0, -1) : text;
  const anchored = bare.includes('/');
  const source = toSource(bare.startsWith('/') ? bare.slice(1) : bare);
  return { pattern: new RegExp(`^${anchored ? '' : '(?:.*/)?'}${source}$`), negated, directoryOnly };
}

/**
 * Reads patterns as .gitignore has them, last match first: `#` comments, `!`, a final `/` for folders, a `/` in front or
 * within for paths from the root, `*`, `?`, `**`. Character classes and escapes are not known.
 */
export function parseIgnore(text: string): Ignore {
  const lines = text.split('\n').map((line) => line.trim());
  const rules = lines.filter((line) => line !== '' && !line.startsWith('#')).map((line) => toRule(line));
  return (path, isDirectory) => {
    const rule = rules.findLast(({ pattern, directoryOnly }) => (isDirectory || !directoryOnly) && pattern.test(path));
    return rule !== undefined && !rule.negated;
  };
}
