import { dirname, join, resolve } from 'node:path';

/** The checkout: the folder of package.json. */
export const checkout = dirname(import.meta.dirname);

/** Folder the toolchain is cached in: the `PLUMBLINE_TOOLCHAIN` setting, else `.plumbline` in the checkout. */
export function toolchainDirOf(config: { PLUMBLINE_TOOLCHAIN: string }): string {
  return config.PLUMBLINE_TOOLCHAIN === '' ? join(checkout, '.plumbline') : resolve(config.PLUMBLINE_TOOLCHAIN);
}
