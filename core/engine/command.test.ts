import { expect, it } from 'vitest';
import { createPulumiCommand, EngineCommandError } from './command.ts';

interface Runnable {
  run(args: string[], cwd: string, env: Record<string, string>, onOutput?: (text: string) => void): Promise<unknown>;
}

function commandThat(code: number) {
  const ran: string[][] = [];
  const execute = async (args: string[], onOutput: (text: string) => void) => {
    ran.push(args);
    onOutput('said');
    return { stdout: 'out', stderr: 'err', code };
  };
  const command: unknown = createPulumiCommand({
    command: '/engine/pulumi',
    version: '3.259.0',
    extra: ['--refresh=false'],
    execute,
  });
  // What the Automation API calls, which its own types keep internal.
  return { ran, command: command as Runnable };
}

it('previews before it applies, never asks and adds the flags of the operation', async () => {
  const { command, ran } = commandThat(0);
  await command.run(['up', '--yes', '--skip-preview', '--stack', 'prod'], '/', {});
  expect(ran).toEqual([['up', '--yes', '--stack', 'prod', '--refresh=false', '--non-interactive']]);
});

it('leaves the preview of a refresh out, as the API asks', async () => {
  const { command, ran } = commandThat(0);
  await command.run(['refresh', '--skip-preview', '--yes'], '/', {});
  expect(ran[0]).toContain('--skip-preview');
});

it.each([['stack select --stack prod'], ['stack output --json'], ['stack history --json']])(
  'answers `%s` without a process',
  async (line) => {
    const { command, ran } = commandThat(1);
    await expect(command.run(line.split(' '), '/', {})).resolves.toMatchObject({ code: 0, stderr: '' });
    expect(ran).toEqual([]);
  },
);

it('passes output on and keeps the exit code of a failure', async () => {
  const { command } = commandThat(6);
  const heard: string[] = [];
  const thrown: unknown = await command
    .run(['preview'], '/', {}, (text) => heard.push(text))
    .catch((error: unknown) => error);
  expect(thrown).toBeInstanceOf(EngineCommandError);
  expect(thrown).toMatchObject({ result: { code: 6, stdout: 'out', stderr: 'err' } });
  expect(heard).toEqual(['said']);
});
