/** Whether a resource type such as `aws:rds/instance:Instance` matches a pattern in which `*` is any text. */
export function matchesType(pattern: string, type: string): boolean {
  const escaped = pattern.split('*').map((part) => part.replace(/[.+?^${}()|[\]\\]/g, '\\$&'));
  return new RegExp(`^${escaped.join('.*')}$`).test(type);
}
