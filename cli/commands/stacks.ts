import type { Command } from 'commander';
import { StackView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { failure } from '../error.ts';
import { printable } from '../printable.ts';
import { isSettled, isStalled } from '../settled.ts';
import { durationMs, waitUntil } from '../wait.ts';

async function reconcile(name: string, _options: object, command: Command) {
  const context = createContext(command);
  const { client, path } = context;
  const { wait, timeout } = command.opts<{ wait?: boolean; timeout: string }>();
  const limitMs = durationMs(timeout);
  const asked = await client.post(path`/stacks/${name}/reconcile`, undefined, StackView);
  const look = () => client.get(path`/stacks/${name}`, StackView);
  const stack =
    wait === true
      ? await waitUntil(look, (answer) => isSettled(answer, asked), { limitMs, last: (answer) => answer.why })
      : asked;
  context.print(stack, () => printable(`${name}: ${stack.why}`));
  if (wait === true && isStalled(stack)) throw failure(printable(`${name} is stalled`));
}

/** What is asked of a whole stack. */
export function stackCommands(program: Command): void {
  program
    .command('reconcile <stack>')
    .description('look at the stack now')
    .option('--wait', 'until it is applied, waits for a person, or is stalled (then exit code 1)')
    .option('--timeout <duration>', 'how long to wait', '10m')
    .action(reconcile);
  for (const word of ['suspend', 'resume'] as const) {
    program
      .command(`${word} <stack>`)
      .description(word === 'suspend' ? 'do nothing with the stack until it is resumed' : 'take the stack up again')
      .action(async (name: string, _options: object, command: Command) => {
        const context = createContext(command);
        const stack = await context.client.post(context.path`/stacks/${name}/${word}`, undefined, StackView);
        context.print(stack, () => printable(`${name}: ${stack.why}`));
      });
  }
  program
    .command('unlock <stack>')
    .description('after HolderUnknown: say that the worker which held the stack is dead')
    .requiredOption('--confirm-dead', 'you have made sure that it runs nowhere: two at once can damage the state')
    .action(async (name: string, _options: object, command: Command) => {
      const context = createContext(command);
      const stack = await context.client.post(context.path`/stacks/${name}/unlock`, { confirmDead: true }, StackView);
      context.print(stack, () => printable(`${name}: ${stack.why}`));
    });
}
