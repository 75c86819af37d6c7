import { covers, formatScopes, parseScopes, type Scopes } from './auth-scopes.ts';
import { field, parseJson } from './body.ts';

function named(part: unknown): string | undefined {
  const [type, name, actions] = [field(part, 'type'), field(part, 'name'), field(part, 'actions')];
  if (typeof type !== 'string' || typeof name !== 'string' || !Array.isArray(actions)) return undefined;
  return `${type}:${name}:${actions.join(',')}`;
}

/** What a token says it grants (distribution docs/content/spec/auth/jwt.md); undefined where it cannot be read. */
function grantedScopes(token: string): Scopes | undefined {
  const access = field(parseJson(Buffer.from(token.split('.')[1] ?? '', 'base64url')), 'access');
  if (!Array.isArray(access)) return undefined;
  return parseScopes(access.flatMap((part: unknown) => named(part) ?? []).join(' '));
}

/**
 * Why a registry refused a request that had credentials, for people: a token server may give fewer rights than it was
 * asked for and call that a success. The token is read for its words only, and never shown.
 */
export function refusalNote(header: string | undefined, wanted: Scopes): string {
  const asked = formatScopes(wanted).join(' ');
  if (header === undefined) return 'no credentials are set for it';
  if (!header.startsWith('Bearer ')) return `the user may not use ${asked}`;
  const granted = grantedScopes(header.slice('Bearer '.length));
  if (granted === undefined || covers(granted, wanted)) return `the token it was sent does not allow ${asked}`;
  const given = formatScopes(granted)
    .join(' ')
    .replace(/[^\x20-\x7e]/g, ' ')
    .slice(0, 200);
  return `the token server granted ${given === '' ? 'nothing' : `only ${given}`} of ${asked}`;
}
