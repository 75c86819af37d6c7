import type { Command } from 'commander';
import { copyArtifact, type CopyRequest, type CopyResult } from '#core/oci/copy.ts';
import { createLayout } from '#core/oci/layout.ts';
import type { Pusher, Source } from '#core/oci/port.ts';
import { createContext, type Context } from '../context.ts';
import { parsePlace, type Place } from '../copy-place.ts';
import { usage } from '../error.ts';
import { withRegistry, type RegistryAccess } from '../registry-access.ts';
import { CREDENTIALS, FROM_CREDENTIALS } from '../registry-credentials.ts';

const COPY_LIMIT_MS = 2 * 3_600_000;

interface CopyFlags {
  fromPlainHttp?: boolean;
  toPlainHttp?: boolean;
  /** Commander's name for `--no-attached`. */
  attached: boolean;
}

type Act = (place: Source & Pusher, signal: AbortSignal) => Promise<CopyResult>;

function withPlace(place: Place, context: Context, plainHttp: boolean, access: RegistryAccess, act: Act) {
  if (place.type === 'layout') return act(createLayout(place.dir), AbortSignal.timeout(COPY_LIMIT_MS));
  return withRegistry(place.repository, context, { plainHttp }, act, { ...access, limitMs: COPY_LIMIT_MS });
}

function render(result: CopyResult, to: Place): string {
  const { items, tags, leftOut, digest } = result;
  const sent = items.filter(({ existed }) => !existed);
  const bytes = sent.reduce((sum, { size }) => sum + size, 0);
  const attached = items.filter(({ subject }) => subject !== undefined).length;
  const { host, name } = to.repository;
  const names = tags.map(({ tag }) => tag).join(', ');
  const lines = [
    `copied ${digest} to ${host}/${name}${names === '' ? '' : ` as ${names}`}`,
    `${items.length} manifests and blobs, ${items.length - sent.length} of them were there already; ${bytes} bytes sent; ${attached} attached (signatures, attestations)`,
    ...leftOut.map((each) => `left out: ${each.digest}, ${each.why}`),
  ];
  return lines.join('\n');
}

async function copy(from: string, to: string, flags: CopyFlags, command: Command): Promise<void> {
  const context = createContext(command);
  const [source, target] = [parsePlace(from), parsePlace(to)];
  const reference = source.digest ?? source.tag;
  if (reference === undefined) throw usage(`${from} names no tag and no digest`);
  if (target.digest !== undefined) throw usage(`${to}: the digest stays what it is; name a tag instead`);
  const tag = target.tag ?? source.tag;
  const fromAccess = { credentials: FROM_CREDENTIALS, plainHttpOption: '--from-plain-http' };
  const toAccess = { credentials: CREDENTIALS, plainHttpOption: '--to-plain-http' };
  const request: Omit<CopyRequest, 'signal'> = {
    from: source.repository,
    reference,
    to: target.repository,
    withReferrers: flags.attached,
    ...(tag === undefined ? {} : { tag }),
  };
  const result = await withPlace(source, context, flags.fromPlainHttp === true, fromAccess, (reader) =>
    withPlace(target, context, flags.toPlainHttp === true, toAccess, (writer, signal) =>
      copyArtifact(reader, writer, { ...request, signal }),
    ),
  );
  context.print(result, () => render(result, target));
}

/** `plumb copy`: between registries and folders, for instance over an air gap. It never talks to the service. */
export function copyCommand(program: Command): void {
  program
    .command('copy <source> <target>')
    .description(
      'copy an artifact with all it consists of, its signatures and attestations; repeat it if it breaks off',
    )
    .option('--from-plain-http', 'reach the registry of <source> by plain HTTP')
    .option('--to-plain-http', 'reach the registry of <target> by plain HTTP')
    .option('--no-attached', 'leave signatures, attestations and all else that is attached behind')
    .addHelpText(
      'after',
      `
Each side is oci://host/name[:tag][@digest], or oci-layout:DIR[:tag][@digest] for a folder in the OCI image layout.
<target> takes the tag of <source> where it names none.
Environment: PLUMBLINE_REGISTRY_USERNAME and _PASSWORD for <target>, PLUMBLINE_FROM_REGISTRY_USERNAME and _PASSWORD
for <source>; else Docker's config.json, for both.

  plumb copy oci://registry.example/infra/shop:1.4.0 oci-layout:./shop
  plumb copy oci-layout:./shop:1.4.0 oci://inside.example/infra/shop`,
    )
    .action(copy);
}
