import { cannotBeUsed, notThere, type ReadStore } from './port.ts';

function prefixOf(start: string, tenant: string): string {
  return `${start}${tenant.toUpperCase().replaceAll('-', '_')}_`;
}

/**
 * Variables of the worker: `<start><TENANT>_<path>` is one text, or the variables that begin with it and `_` are its keys. Of
 * two tenants whose names begin alike a variable belongs to the longer one. `tenants`: all of the installation, for machines of
 * several workers often give them all one file of variables.
 */
export function environmentStore(
  start: string,
  tenants: () => Promise<readonly string[]>,
  environment: Record<string, string | undefined>,
): ReadStore {
  return async (read) => {
    if (start === '')
      throw cannotBeUsed(read, 'this installation reads no variables: set PLUMBLINE_SECRET_VARIABLES of the worker');
    const own = prefixOf(start, read.tenant);
    const prefixes = (await tenants()).map((tenant) => prefixOf(start, tenant));
    const isOwn = (name: string) =>
      name.startsWith(own) && !prefixes.some((other) => other.length > own.length && name.startsWith(other));
    const name = `${own}${read.external.path}`;
    const whole = isOwn(name) ? environment[name] : undefined;
    if (whole !== undefined) return { text: whole };
    const values: Record<string, string> = {};
    for (const [variable, value] of Object.entries(environment)) {
      if (value !== undefined && variable.startsWith(`${name}_`) && isOwn(variable))
        values[variable.slice(name.length + 1)] = value;
    }
    if (Object.keys(values).length > 0) return { values };
    throw notThere(read, `the worker has no variable ${name} and none that begins with ${name}_`);
  };
}
