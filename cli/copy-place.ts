import { resolve } from 'node:path';
import { isDigest, isTag, parseReference, type Repository } from '#core/domain/reference.ts';
import { usage } from './error.ts';

const LAYOUT = 'oci-layout:';

/** One side of a copy: a registry, or a folder in the OCI image layout. */
export interface Place {
  type: 'registry' | 'layout';
  /** For a layout a stand-in that names it in messages. */
  repository: Repository;
  /** Absolute; of a layout. */
  dir: string;
  tag?: string;
  digest?: string;
}

function parseLayout(text: string): Place {
  const [path = '', digest, ...more] = text.slice(LAYOUT.length).split('@');
  if (more.length > 0 || (digest !== undefined && !isDigest(digest))) {
    throw usage(`${text}: what follows @ is no sha256 or sha512 digest`);
  }
  const colon = path.indexOf(':', path.lastIndexOf('/'));
  const [folder, tag] = colon === -1 ? [path, undefined] : [path.slice(0, colon), path.slice(colon + 1)];
  if (tag !== undefined && !isTag(tag)) throw usage(`${text}: the tag is not valid`);
  if (folder === '' || folder === '//') throw usage(`${text} names no folder; write ${LAYOUT}DIR:tag`);
  // `oci-layout:///srv/x` is an absolute path written as a URL.
  const dir = resolve(folder.startsWith('//') ? folder.slice(2) : folder);
  const repository = { host: `${LAYOUT}/`, name: dir };
  return {
    type: 'layout',
    repository,
    dir,
    ...(tag === undefined ? {} : { tag }),
    ...(digest === undefined ? {} : { digest }),
  };
}

/**
 * Reads one side of a copy: `oci://host[:port]/name[:tag][@digest]`, or `oci-layout:DIR[:tag][@digest]` with a relative or
 * absolute folder.
 * @throws CliError | ReconcileError stalled InvalidReference
 */
export function parsePlace(text: string): Place {
  if (text.startsWith(LAYOUT)) return parseLayout(text);
  return { type: 'registry', dir: '', ...parseReference(text) };
}
