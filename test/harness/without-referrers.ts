import { createServer, request } from 'node:http';

/**
 * Stands in front of a registry on a local port and makes it one of before distribution-spec 1.1: no referrers API, and
 * no word that a subject was understood.
 */
export async function startWithoutReferrers(port: number): Promise<{ host: string; close(): Promise<void> }> {
  const server = createServer((asked, answer) => {
    if (asked.url?.includes('/referrers/') === true) {
      answer.writeHead(404, { 'content-type': 'text/plain' }).end('404 page not found');
      return;
    }
    const { method, url: path, headers } = asked;
    const passed = request({ host: '127.0.0.1', port, method, path, headers }, (response) => {
      const { 'oci-subject': _, ...rest } = response.headers;
      answer.writeHead(response.statusCode ?? 502, rest);
      response.pipe(answer);
    });
    passed.on('error', () => answer.destroy());
    asked.pipe(passed);
  });
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the front has no port');
  return {
    host: `127.0.0.1:${address.port}`,
    close: () =>
      new Promise((resolve) => {
        server.closeAllConnections();
        server.close(() => resolve());
      }),
  };
}
