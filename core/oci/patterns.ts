import { RE2JS } from 're2js';
import { stalled } from '#core/domain/errors.ts';

/** Says whether a whole text is one that was asked for. */
export type Matcher = (text: string) => boolean;

const MAX_PATTERN = 1024;

/** Exactly this text. */
export function exactly(wanted: string): Matcher {
  return (text) => text === wanted;
}

/**
 * Compiles a pattern that a person wrote. RE2 runs in linear time, so none can hang us.
 * @throws ReconcileError stalled SpecInvalid, `what` names the setting
 */
export function compilePattern(pattern: string, what: string): RE2JS {
  if (pattern === '' || pattern.length > MAX_PATTERN) {
    throw stalled('SpecInvalid', `${what} must have 1 to ${MAX_PATTERN} characters`);
  }
  try {
    return RE2JS.compile(pattern);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    throw stalled('SpecInvalid', `${what} is no RE2 pattern: ${why.slice(0, 200)}`, error);
  }
}

/**
 * An RE2 pattern that must match the whole text: anchored by us, since a pattern that may match anywhere accepts
 * `https://evil.example/https://github.com/acme`.
 * @throws ReconcileError stalled SpecInvalid, `what` names the setting
 */
export function wholePattern(pattern: string, what: string): Matcher {
  const compiled = compilePattern(pattern, what);
  return (text) => compiled.matches(text);
}

/**
 * Texts of an attestation policy: exact, or an RE2 pattern of the whole between slashes (`/…/`).
 * @throws ReconcileError stalled SpecInvalid, `what` names the setting
 */
export function textMatcher(text: string, what: string): Matcher {
  const isPattern = text.length > 2 && text.startsWith('/') && text.endsWith('/');
  return isPattern ? wholePattern(text.slice(1, -1), what) : exactly(text);
}

/** Any one of several texts. @throws ReconcileError stalled SpecInvalid, `what` names the setting */
export function anyText(texts: readonly string[], what: string): Matcher {
  const matchers = texts.map((text) => textMatcher(text, what));
  return (text) => matchers.some((matches) => matches(text));
}
