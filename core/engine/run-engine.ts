import { spawn } from 'node:child_process';
import { join } from 'node:path';
import type { EngineRequest } from './port.ts';

export interface EngineOptions {
  engineDir: string;
  nodePath: string;
  maxOutputBytes: number;
}

export interface EngineProcess {
  args: string[];
  environment: Record<string, string>;
  timeoutMs: number;
  onStdout(text: string): void;
  onStderr(text: string): void;
}

export function runEngine(engine: EngineOptions, request: EngineRequest, run: EngineProcess): Promise<{ code: number | null; timedOut: boolean }> {
  return new Promise((resolve, reject) => {
    let late = false;
    const child = spawn(join(engine.engineDir, 'pulumi'), run.args, { cwd: request.programDir, env: run.environment, stdio: ['ignore', 'pipe', 'pipe'] });
    const timer = setTimeout(() => {
      late = true;
      child.kill('SIGKILL');
    }, run.timeoutMs);
    child.stdout.setEncoding('utf8').on('data', run.onStdout);
    child.stderr.setEncoding('utf8').on('data', run.onStderr);
    child.on('error', reject);
    child.on('close', (code) => {
      clearTimeout(timer);
      resolve({ code, timedOut: late });
    });
  });
}
