import { spawn, type ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import language from '@pulumi/pulumi/proto/language_pb.js';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { openGate } from '../gate-server.ts';
import { MESSAGE_LIMITS } from './serve.ts';

const here = import.meta.dirname;
const same = (message: Buffer) => message;

let dir: string;
let started: ChildProcess[];
beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'forward-'));
  started = [];
});
afterEach(async () => {
  for (const child of started) child.kill('SIGKILL');
  await rm(dir, { recursive: true, force: true });
});

function start(environment: Record<string, string>, args: string[] = []) {
  const fixture = [process.execPath, join(here, 'forward.fixture.ts'), ...args];
  const child = spawn(process.execPath, [join(here, 'forward-main.ts'), ...fixture], { env: environment });
  started.push(child);
  return child;
}

async function open(environment: Record<string, string>) {
  const child = start(environment);
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const client = new Client(`127.0.0.1:${(await lines.next()).value}`, credentials.createInsecure(), MESSAGE_LIMITS);
  const seen: unknown = JSON.parse(String((await lines.next()).value));
  const unary = (method: string, message: Buffer) =>
    new Promise<Buffer>((resolve, reject) => {
      const path = `/pulumirpc.LanguageRuntime/${method}`;
      client.makeUnaryRequest(path, same, same, message, new Metadata(), {}, (error, answer) =>
        error || answer === undefined ? reject(error ?? new Error('no answer')) : resolve(answer),
      );
    });
  return { child, client, seen, unary };
}

function runRequest(dryRun: boolean): Buffer {
  const request = new language.RunRequest();
  request.setDryrun(dryRun);
  request.setProject('shop');
  // A field that no version of the protocol knows yet: number 1000, text "new".
  return Buffer.concat([Buffer.from(request.serializeBinary()), Buffer.from([0xc2, 0x3e, 3, 0x6e, 0x65, 0x77])]);
}

describe('the forwarding host', { timeout: 20_000 }, () => {
  it('loses no byte, hands on errors and shows the host nothing that is private', async () => {
    const { client, seen, unary } = await open({ PULUMI_CONFIG_PASSPHRASE: 'p', PLUMBLINE_X: 'g', GIVEN: 'v' });
    expect(seen).toEqual({ GIVEN: 'v' });
    for (const message of [runRequest(true), Buffer.alloc(0), Buffer.alloc(5_000_000, 7)]) {
      const answer = await unary(message.length > 100 || message.length === 0 ? 'Pack' : 'Run', message);
      expect(answer.equals(message)).toBe(true);
    }
    await expect(unary('About', Buffer.alloc(0))).rejects.toMatchObject({ code: 5, details: 'no such thing' });
    client.close();
  });

  it('streams what a plugin prints, and strips the environment the engine gives it', async () => {
    const { client } = await open({});
    const request = new language.RunPluginRequest();
    request.setEnvList(['A=1', 'PULUMI_BACKEND_URL=s3://b', 'PULUMI_CONFIG_PASSPHRASE=x=y', 'B=2=3']);
    const path = '/pulumirpc.LanguageRuntime/RunPlugin';
    const stream = client.makeServerStreamRequest(path, same, same, Buffer.from(request.serializeBinary()));
    const printed: string[] = [];
    for await (const piece of stream as AsyncIterable<Buffer>) {
      const response = language.RunPluginResponse.deserializeBinary(piece);
      printed.push(Buffer.from(response.getStdout_asU8()).toString());
    }
    expect(printed).toEqual(['A=1', 'B=2=3']);
    client.close();
  });

  it.each([
    [true, ['checkpoint was a and is b'], 'checkpoint was a and is b'],
    [true, [], undefined],
    // Only the preview phase of an apply is asked for: later the engine has begun.
    [false, ['checkpoint was a and is b'], undefined],
  ])('asks the gate of a run whose dry run is %s and finds %j', async (dryRun, differences, refusal) => {
    const gate = await openGate(dir, async () => differences);
    const { client, unary } = await open({ PLUMBLINE_GATE: gate.path });
    const answer = await unary('Run', runRequest(dryRun));
    if (refusal === undefined) expect(answer.equals(runRequest(dryRun))).toBe(true);
    else {
      const error = language.RunResponse.deserializeBinary(answer).getError();
      expect(error).toBe(`Plumbline refused to run the program: ${refusal}`);
    }
    client.close();
    await gate.close();
  });

  it('runs no program where none is to run, once the gate consents', async () => {
    const gate = await openGate(dir, async () => []);
    const { client, unary } = await open({ PLUMBLINE_GATE: gate.path, PLUMBLINE_NO_PROGRAM: '1' });
    expect((await unary('Run', runRequest(true))).byteLength).toBe(0);
    expect((await unary('Run', runRequest(false))).byteLength).toBe(0);
    client.close();
    await gate.close();
  });

  it('takes a worker that is gone for a refusal', async () => {
    const { client, unary } = await open({ PLUMBLINE_GATE: join(dir, 'gone') });
    const answer = await unary('Run', runRequest(true));
    expect(language.RunResponse.deserializeBinary(answer).getError()).toContain('could not be checked');
    client.close();
  });

  it.each(['SIGINT', 'SIGTERM'] as const)('leaves with its host at %s', async (signal) => {
    const { child, client } = await open({});
    child.kill(signal);
    client.close();
    // The streams end when the last process that holds them is gone.
    await once(child, 'close');
    expect(child.exitCode).not.toBeNull();
  });

  it('says which host gives no port, and leaves', async () => {
    const child = start({}, ['silent']);
    const said: Buffer[] = [];
    child.stderr.on('data', (piece: Buffer) => said.push(piece));
    const [code] = await once(child, 'close');
    expect(code).toBe(1);
    expect(Buffer.concat(said).toString()).toContain('printed no port but "not a port');
  });
});
