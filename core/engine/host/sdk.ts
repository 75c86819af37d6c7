import { createRequire } from 'node:module';
import { join } from 'node:path';

/**
 * Path of a module of the program's OWN `@pulumi/pulumi`: closures and resource state belong to the copy the program loads.
 * @throws Error that says what to do when the program has none.
 */
export function resolveSdk(programDir: string, module: string): string {
  try {
    return createRequire(join(programDir, 'package.json')).resolve(`@pulumi/pulumi/${module}`);
  } catch (cause) {
    throw new Error(
      `The program has no @pulumi/pulumi in its node_modules. Add it to the dependencies in package.json and commit the lock file.`,
      { cause },
    );
  }
}
