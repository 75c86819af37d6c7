import { spawn } from 'node:child_process';
import { checkout } from '../toolchain/paths.ts';

/** Runs a command in the checkout with our terminal; resolves to its exit code (127 when it cannot be run). */
export function runCommand(command: string, args: string[]): Promise<number> {
  return new Promise((resolve) => {
    const child = spawn(command, args, { cwd: checkout, stdio: 'inherit' });
    child.once('error', (error) => {
      console.error(`${command} could not be run: ${error.message}`);
      resolve(127);
    });
    child.once('exit', (code) => resolve(code ?? 1));
  });
}
