/** What a token is good for: actions by resource, as in `repository:infra/shop:pull,push`. */
export type Scopes = ReadonlyMap<string, ReadonlySet<string>>;

const ALL = '*';

/** Reads scopes separated by spaces (distribution docs/content/spec/auth/scope.md); a word without a colon is kept. */
export function parseScopes(text: string): Scopes {
  return mergeScopes(
    ...text
      .split(' ')
      .filter((scope) => scope !== '')
      .map((scope) => {
        const at = scope.lastIndexOf(':');
        if (at === -1) return new Map([[scope, new Set<string>()]]);
        const actions = scope.slice(at + 1).split(',');
        return new Map([[scope.slice(0, at), new Set(actions.filter((action) => action !== ''))]]);
      }),
  );
}

/** All of them together: the actions of one resource are joined, `*` stands for every action. */
export function mergeScopes(...all: readonly Scopes[]): Scopes {
  const merged = new Map<string, ReadonlySet<string>>();
  for (const [resource, actions] of all.flatMap((scopes) => [...scopes])) {
    const joined = new Set([...(merged.get(resource) ?? []), ...actions]);
    merged.set(resource, joined.has(ALL) ? new Set([ALL]) : joined);
  }
  return merged;
}

/** Whether a token with the scopes `held` serves a request that wants `wanted`. */
export function covers(held: Scopes, wanted: Scopes): boolean {
  return [...wanted].every(([resource, actions]) => {
    const given = held.get(resource);
    return given !== undefined && (given.has(ALL) || [...actions].every((action) => given.has(action)));
  });
}

/** One text for each resource, in a stable order. */
export function formatScopes(scopes: Scopes): string[] {
  const texts = [...scopes].map(([resource, actions]) =>
    actions.size === 0 ? resource : `${resource}:${[...actions].toSorted().join(',')}`,
  );
  return texts.toSorted();
}
