/**
 * A language host for tests, which answers in bytes of its own: each call gives back what it was asked, `RunPlugin` its
 * environment in pieces, `About` an error. Its first argument may be `silent`: then it prints no port.
 */
import { status, type ServerDuplexStream } from '@grpc/grpc-js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import { forwardedService } from './forward.ts';
import { serveHost } from './serve.ts';

type Call = ServerDuplexStream<Buffer, Buffer>;

function echo(call: Call): void {
  call.on('data', (message: Buffer) => call.write(message));
  call.on('end', () => call.end());
}

function pieces(call: Call): void {
  call.on('data', (message: Buffer) => {
    for (const entry of language.RunPluginRequest.deserializeBinary(message).getEnvList()) {
      const response = new language.RunPluginResponse();
      response.setStdout(Buffer.from(entry));
      call.write(Buffer.from(response.serializeBinary()));
    }
    call.end();
  });
}

if (process.argv[2] === 'silent') {
  console.log('not a port');
} else {
  const handlers = Object.fromEntries(Object.keys(forwardedService).map((name) => [name, echo]));
  const about = (call: Call) => call.emit('error', { code: status.NOT_FOUND, details: 'no such thing' });
  await serveHost(forwardedService, { ...handlers, runPlugin: pieces, about });
  console.log(JSON.stringify(process.env));
}
setInterval(() => undefined, 60_000);
