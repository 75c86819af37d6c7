import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSubject, isTrustedSubject, parseTrustedIdentity, type Attribute } from './notation-identity.ts';

/** `C=US|ST=WA` */
function subject(text: string): Attribute[] {
  return text.split('|').map((part) => {
    const at = part.indexOf('=');
    return { type: part.slice(0, at), value: part.slice(at + 1) };
  });
}

describe('trusted identities', () => {
  it.each([
    ['names fewer attributes', 'x509.subject: C=US, ST=WA, O=acme', 'CN=ci|O=acme|ST=WA|C=US'],
    ['names them in another order', 'x509.subject: O=acme,C=US,ST=WA', 'C=US|ST=WA|O=acme'],
    ['writes S for ST', 'x509.subject: C=US, S=WA, O=acme', 'C=US|ST=WA|O=acme'],
    ['writes names in lower case', 'x509.subject: c=US, st=WA, o=acme', 'C=US|ST=WA|O=acme'],
    ['escapes a comma', 'x509.subject: C=US, ST=WA, O=acme\\, inc', 'C=US|ST=WA|O=acme, inc'],
    ['escapes by hex, as UTF-8', 'x509.subject: C=CH, ST=ZH, O=Z\\C3\\BCri', 'C=CH|ST=ZH|O=Züri'],
    ['escapes spaces at the ends', 'x509.subject: C=US, ST=WA, O=\\ acme\\ ', 'C=US|ST=WA|O= acme '],
    ['escapes an equals sign or does not', 'x509.subject: C=US, ST=W\\=A, O=a=b', 'C=US|ST=W=A|O=a=b'],
    ['escapes a backslash before a comma', 'x509.subject: C=US, ST=WA\\\\, O=acme', 'C=US|ST=WA\\|O=acme'],
    ['is *', ' * ', 'CN=anybody'],
  ])('match a subject when the policy %s', (_, identity, name) => {
    expect(isTrustedSubject(subject(name), parseTrustedIdentity(identity))).toBe(true);
  });

  it.each([
    ['has another value', 'C=US|ST=WA|O=evil'],
    ['lacks an attribute', 'C=US|O=acme'],
    ['says it twice, good last', 'C=US|ST=WA|O=evil|O=acme'],
    ['says it twice, good first', 'C=US|ST=WA|O=acme|O=evil'],
    ['hides it in another attribute', 'CN=x, O=acme|C=US|ST=WA|O=evil'],
    ['differs in case', 'C=US|ST=WA|O=ACME'],
    ['goes on after the value', 'C=US|ST=WA|O=acme, O=evil'],
  ])('do not match a subject that %s', (_, name) => {
    const trusted = parseTrustedIdentity('x509.subject: C=US, ST=WA, O=acme');
    expect(isTrustedSubject(subject(name), trusted)).toBe(false);
  });

  it.each([
    ['without a prefix', 'C=US, ST=WA, O=acme', 'does not start with x509.subject:'],
    ['with a part missing', 'x509.subject: C=US, O=acme', 'ST is missing'],
    ['with an attribute twice', 'x509.subject: C=US, ST=WA, O=a, O=b', 'O is there twice'],
    ['with a bare word', 'x509.subject: C=US, ST=WA, O=a, inc', 'NAME=value'],
    ['with several attributes in one part', 'x509.subject: C=US, ST=WA, O=a+OU=b', 'written as'],
    ['with a semicolon', 'x509.subject: C=US; ST=WA, O=a', 'written as'],
    ['with an unknown attribute', 'x509.subject: C=US, ST=WA, O=a, X=b', '"X" is none of'],
    ['with a hex string', 'x509.subject: C=US, ST=WA, O=#0c0161', '# at the start'],
    ['with bytes that are no UTF-8', 'x509.subject: C=US, ST=WA, O=\\FF', 'no UTF-8'],
    ['that ends in a backslash', 'x509.subject: C=US, ST=WA, O=a\\', 'escapes nothing'],
    ['with an empty value', 'x509.subject: C=US, ST=WA, O=', 'no value'],
    ['that is empty', '', 'does not start'],
  ])('are refused %s', (_, identity, why) => {
    expect(() => parseTrustedIdentity(identity)).toThrowError(
      expect.objectContaining({ reason: 'SpecInvalid', message: expect.stringContaining(why) }),
    );
  });
});

describe('a subject', () => {
  it('is printed so that nobody can forge attributes or log lines', () => {
    const text = formatSubject(subject('C=US|O=good, O=evil\n|CN=#x '));
    expect(text).toBe('C=US, O=good\\, O\\=evil?, CN=\\#x\\ ');
  });
});

describe('a subject as it is printed', () => {
  const value = fc.string({ minLength: 1, maxLength: 20, unit: 'grapheme' }).filter((text) => !/\p{C}/u.test(text));

  it('is a policy that matches this subject and no other', () => {
    fc.assert(
      fc.property(value, value, (name, other) => {
        const of = (organization: string) => [...subject('C=CH|ST=ZH'), { type: 'O', value: organization }];
        const trusted = parseTrustedIdentity(`x509.subject: ${formatSubject(of(name))}`);
        expect(isTrustedSubject(of(name), trusted)).toBe(true);
        expect(isTrustedSubject(of(other), trusted)).toBe(name === other);
      }),
    );
  });
});
