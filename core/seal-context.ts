/**
 * The places of what the master key seals, as `seal` binds them: a row copied to another place does not open. One table for
 * who seals, who opens and the rotation of the key.
 */
export const sealContext = {
  hmacKey: (tenant: string) => `hmac/${tenant}`,
  secret: (tenant: string, name: string) => `secret/${tenant}/${name}`,
  passphrase: (stack: { tenant: string; id: string }) => `passphrase/${stack.tenant}/${stack.id}`,
  plan: (run: { tenant: string; id: string }) => `plan/${run.tenant}/${run.id}`,
  runFile: (at: { tenant: string; runId: string; kind: string }) => `${at.kind}/${at.tenant}/${at.runId}`,
} as const;
