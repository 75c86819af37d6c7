import { access, constants } from 'node:fs/promises';
import { delimiter, join } from 'node:path';

/** Whether the file is there and may be executed. */
export function isExecutable(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(
    () => true,
    () => false,
  );
}

/** First executable of that name on PATH. */
export async function onPath(name: string): Promise<string | undefined> {
  for (const dir of (process.env['PATH'] ?? '').split(delimiter)) {
    const file = join(dir, name);
    if (dir !== '' && (await isExecutable(file))) return file;
  }
  return undefined;
}
