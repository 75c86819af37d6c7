import { ReconcileError, stalled, transient } from '#core/domain/errors.ts';
import { AddressRefused } from './address-guard.ts';
import type { HttpRequest } from './http.ts';

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** OpenSSL's and Node's codes for a certificate that is not believed. */
const NOT_TRUSTED =
  /^(CERT_|DEPTH_ZERO_SELF_SIGNED_CERT|SELF_SIGNED_CERT_IN_CHAIN|UNABLE_TO_|ERR_TLS_CERT_ALTNAME_INVALID)/;
/** OpenSSL's words for a server that wants a certificate of ours. */
const WANTS_CERTIFICATE = /certificate required|handshake failure|bad certificate/i;

const BY_CODE: Readonly<Record<string, string>> = {
  UND_ERR_HEADERS_TIMEOUT: 'it took the request and did not answer in time',
  UND_ERR_BODY_TIMEOUT: 'it began to answer and then sent nothing more in time',
  UND_ERR_CONNECT_TIMEOUT: 'it did not accept a connection in time',
  ECONNREFUSED: 'connection refused',
  ECONNRESET: 'connection reset',
};

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  const code = codeOf(error);
  if (code === 'ERR_SSL_WRONG_VERSION_NUMBER' || error.message.includes('wrong version number')) {
    return 'it does not speak HTTPS (wrong version number); if plain HTTP is meant, list it in PLUMBLINE_PLAIN_HTTP_REGISTRIES';
  }
  if (NOT_TRUSTED.test(code)) {
    return `its certificate is not trusted (${code}); set \`ca\` for it in the file of PLUMBLINE_REGISTRIES_FILE`;
  }
  if (WANTS_CERTIFICATE.test(error.message)) {
    return 'it refused the TLS handshake; if it asks for a client certificate, set clientCertificate and clientKey for it in the file of PLUMBLINE_REGISTRIES_FILE';
  }
  return BY_CODE[code] ?? (error.message === '' ? code || error.name : error.message);
}

/** What was contacted. Of a stranger the origin only: presigned addresses hold secrets, in queries and sometimes paths. */
function contacted({ url, home }: HttpRequest): string {
  return url.host === home ? `${url.origin}${url.pathname}` : url.origin;
}

/**
 * The error of an exchange that did not end well. Tells our own limits and network failures, which are transient, from
 * the caller's abort and from errors of the content to be sent, which are thrown on unchanged.
 */
export function failedExchange(error: unknown, sent: HttpRequest): unknown {
  if (sent.signal.aborted) return sent.signal.reason;
  if (error instanceof ReconcileError) return error;
  const what = sent.what === undefined ? '' : `${sent.what}: `;
  if (error instanceof AddressRefused) {
    const text = `${what}refused to contact ${sent.url.origin}: ${error.message}; where that is meant, list it in privateHosts of the registry`;
    return stalled('InvalidReference', text, error);
  }
  const limit = error instanceof Error && error.name === 'TimeoutError';
  const why = limit ? `no complete answer within ${sent.limitMs / 1000} s` : describe(error);
  return transient('SourceUnreachable', `${what}${sent.method} ${contacted(sent)} failed: ${why}`, error);
}
