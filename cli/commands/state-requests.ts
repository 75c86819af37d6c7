import type { Command } from 'commander';
import { StackView } from '#core/domain/view.ts';
import { createContext } from '../context.ts';
import { usage } from '../error.ts';
import { printable } from '../printable.ts';

/** @param noted what was asked, and how it goes on; the service alone would only say what the stack does now. */
async function post(name: string, what: string, body: unknown, noted: string, command: Command): Promise<void> {
  const context = createContext(command);
  const stack = await context.client.post(context.path`/stacks/${name}/${what}`, body, StackView);
  context.print(stack, () => `${printable(`${name}: ${noted}`)}\n${printable(`now: ${stack.why}`)}`);
}

/** What is said about the state of a stack as a whole. Each only asks: what follows waits for an approval. */
export function stateRequestCommands(program: Command): void {
  program
    .command('destroy <stack>')
    .description('plan the destroy of everything the stack made; nothing goes before a person approves the list')
    .action((name: string, _options: object, command: Command) =>
      post(name, 'destroy', undefined, `a destroy is asked for; see \`plumb diff ${name}\`, then approve it`, command),
    );
  program
    .command('rebind <stack>')
    .description('after IdentityChanged: let the state move to the address in the spec')
    .action((name: string, _options: object, command: Command) =>
      post(name, 'rebind', undefined, `the move is asked for; see \`plumb diff ${name}\`, then approve it`, command),
    );
  program
    .command('accept-state <stack>')
    .description('after StateMovedOutside: answer for a state something else wrote, and for the code it holds')
    .requiredOption('--checkpoint <digest>', 'sha256:… as the stalled stack names it')
    .action((name: string, _options: object, command: Command) => {
      const { checkpoint } = command.opts<{ checkpoint: string }>();
      if (!/^(sha256:[0-9a-f]{64}|absent)$/.test(checkpoint))
        throw usage(`--checkpoint takes sha256:… as plumb describe shows it, not ${JSON.stringify(checkpoint)}`);
      const noted = `you answer for ${checkpoint}, and for no other state: if it is another by now, the stack stalls again`;
      return post(name, 'accept-state', { checkpoint }, noted, command);
    });
}
