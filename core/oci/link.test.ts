import { describe, expect, it } from 'vitest';
import { nextLink } from './link.ts';

describe('nextLink', () => {
  it.each([
    [undefined, undefined],
    ['', undefined],
    ['</v2/a/tags/list?n=1&last=b>; rel="next"', '/v2/a/tags/list?n=1&last=b'],
    ['</v2/a/tags/list?last=b>;rel=next', '/v2/a/tags/list?last=b'],
    ['<https://r.io/p>; rel="prev", <https://r.io/n>; title="x"; rel="last next"', 'https://r.io/n'],
    ['<https://r.io/p>; rel="previous"', undefined],
    ['<https://r.io/n>', undefined],
    ['not a link; rel="next"', undefined],
  ])('of %s is %s', (header, target) => {
    expect(nextLink(header)).toBe(target);
  });
});
