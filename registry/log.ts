/** Where the registry reports what it does: the part of pino's logger that it uses. */
export interface RegistryLog {
  info(fields: Record<string, unknown>, message: string): void;
  warn(fields: Record<string, unknown>, message: string): void;
  error(fields: Record<string, unknown>, message: string): void;
}

/** Drops everything. */
export const SILENT: RegistryLog = { info: () => {}, warn: () => {}, error: () => {} };
