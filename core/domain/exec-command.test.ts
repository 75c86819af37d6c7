import { expect, it } from 'vitest';
import { execRefusal, execTraits, printsState } from './exec-command.ts';

it.each([
  'stack export',
  'stack history --json --page-size 5',
  'stack output url --json',
  'state delete urn:pulumi:prod::shop::t::n --force --target-dependents',
  'state unprotect --all',
  'state rename urn:pulumi:prod::shop::t::n other',
  'state repair',
  'import aws:s3/bucket:Bucket logs my-logs --protect=false --parent x=urn:y',
  'refresh --target urn:pulumi:prod::shop::t::n --clear-pending-creates',
])('lets through: %s', (line) => {
  expect(execRefusal(line.split(' '), false)).toBeUndefined();
});

it.each([
  ['', 'not let through'],
  ['up', 'not let through'],
  ['up --yes', 'not let through'],
  ['destroy', 'not let through'],
  ['preview --save-plan x', 'not let through'],
  ['watch', 'not let through'],
  ['cancel', 'not let through'],
  ['logs', 'not let through'],
  ['config', 'not let through'],
  ['config get password', 'not let through'],
  ['env get x', 'not let through'],
  ['stack', 'not let through'],
  ['stack rm', 'not let through'],
  ['stack change-secrets-provider x', 'not let through'],
  ['state edit', 'not let through'],
  ['state move x', 'not let through'],
  ['state upgrade', 'not let through'],
  ['plugin install resource aws', 'not let through'],
  ['__proto__', 'not let through'],
  ['constructor', 'not let through'],
  ['--cwd /tmp stack export', 'not let through'],
  ['-C /tmp stack export', 'not let through'],
  ['stack export --show-secrets', '--show-secrets'],
  ['stack export --file /etc/passwd', '--file'],
  ['stack export --stack other', '--stack'],
  ['stack export -s other', '-s'],
  ['stack output --show-secrets=true', '--show-secrets'],
  ['stack history --show-secrets', '--show-secrets'],
  ['stack export --cwd=/', '--cwd'],
  ['stack export -v=9', '-v'],
  ['stack export --logtostderr', '--logtostderr'],
  ['stack export --tracing=file:/x', '--tracing'],
  ['import --file x a b c', '--file'],
  ['import a b c --generate-code', '--generate-code'],
  ['import a b', '3 words'],
  ['refresh --run-program', '--run-program'],
  ['refresh --config-file x', '--config-file'],
  ['refresh --exec-agent x', '--exec-agent'],
  ['refresh --target', 'needs a value'],
  ['refresh --target --show-secrets', 'needs a value'],
  ['refresh --diff=x', 'written alone'],
  ['state delete', '1 words'],
  ['state delete -- --show-secrets', '--'],
  ['stack export \u0007', 'control character'],
])('refuses: %s', (line, why) => {
  expect(execRefusal(line.split(' '), false)).toContain(why);
});

it('wants the state with an import, and with nothing else', () => {
  expect(execRefusal(['stack', 'import'], false)).toContain('--input');
  expect(execRefusal(['stack', 'import', '--force'], true)).toBeUndefined();
  expect(execRefusal(['stack', 'export'], true)).toContain('reads no input');
});

it('refuses commands without end', () => {
  expect(execRefusal([], false)).toContain('say what to do');
  expect(execRefusal(['state', 'taint', ...Array.from({ length: 70 }, () => 'x')], false)).toContain('arguments');
  expect(execRefusal(['state', 'taint', 'x'.repeat(3000)], false)).toContain('longer');
});

it('knows what a command does', () => {
  expect(execTraits(['stack', 'export'])).toEqual({ writes: false, settings: false, input: false, added: [] });
  expect(execTraits(['refresh'])).toMatchObject({ writes: true, settings: true });
  expect(execTraits(['state', 'delete', 'x'])).toMatchObject({ writes: true, added: ['--yes'] });
  expect(() => execTraits(['up'])).toThrow('not let through');
  expect(printsState(['stack', 'export', '--version', '3'])).toBe(true);
  expect(printsState(['stack', 'history'])).toBe(false);
});
