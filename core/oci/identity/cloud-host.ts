import { stalled } from '#core/domain/errors.ts';
import type { Cloud } from '#core/domain/manifest.ts';

/** A registry host that a cloud's identity may be shown to. */
export type CloudHost =
  | { cloud: 'aws'; kind: 'private'; region: string; fips: boolean }
  | { cloud: 'aws'; kind: 'public' }
  | { cloud: 'azure' }
  | { cloud: 'gcp' };

/** `<account>.dkr.ecr[-fips].<region>.<suffix>`, and with IPv6 `<account>.dkr-ecr[-fips].<region>.<suffix>`. */
const ECR =
  /^\d{12}\.dkr(?<join>[.-])ecr(?<fips>-fips)?\.(?<region>[a-z]{2,4}(?:-[a-z]+)+-\d)\.(?<suffix>[a-z0-9.-]+)$/;
const ECR_PUBLIC: ReadonlySet<string> = new Set(['public.ecr.aws', 'ecr-public.aws.com']);

/** DNS suffix by region and join (botocore partitions.json): the two must agree, or a host is none of AWS. */
const PARTITIONS: { region: RegExp; '.': string; '-'?: string }[] = [
  { region: /^cn-/, '.': 'amazonaws.com.cn', '-': 'on.amazonwebservices.com.cn' },
  { region: /^us-iso-/, '.': 'c2s.ic.gov' },
  { region: /^us-isob-/, '.': 'sc2s.sgov.gov' },
  { region: /^(eu|us)-isof-/, '.': 'csp.hci.ic.gov' },
  { region: /^eu-isoe-/, '.': 'cloud.adc-e.uk' },
  { region: /^eusc-/, '.': 'amazonaws.eu' },
  { region: /^/, '.': 'amazonaws.com', '-': 'on.aws' },
];

/** Registry names are 5 to 50 letters and digits, with a hash behind a hyphen where labels are reused. */
const ACR = /^[a-z0-9]{5,50}(-[a-z0-9]+)?\.azurecr\.(io|cn|de|us)$/;
/** Artifact Registry (`europe-west1-docker.pkg.dev`) and the Container Registry it replaced (`eu.gcr.io`). */
const GOOGLE = /^([a-z0-9]+(-[a-z0-9]+)*-docker\.pkg\.dev|([a-z0-9]+\.)?gcr\.io)$/;

const EXPECTED: Record<Cloud, string> = {
  aws: '<account>.dkr.ecr.<region>.amazonaws.com (and the hosts of other partitions) or public.ecr.aws',
  azure: '<name>.azurecr.io (or .cn, .de, .us)',
  gcp: '<location>-docker.pkg.dev or gcr.io',
};

function readEcr(host: string): CloudHost | undefined {
  if (ECR_PUBLIC.has(host)) return { cloud: 'aws', kind: 'public' };
  const { join, fips, region = '', suffix } = ECR.exec(host)?.groups ?? {};
  const partition = PARTITIONS.find((each) => each.region.test(region));
  if ((join !== '.' && join !== '-') || partition?.[join] !== suffix) return undefined;
  return { cloud: 'aws', kind: 'private', region, fips: fips !== undefined };
}

function read(cloud: Cloud, host: string): CloudHost | undefined {
  if (cloud === 'aws') return readEcr(host);
  const pattern = cloud === 'azure' ? ACR : GOOGLE;
  return pattern.test(host) ? { cloud } : undefined;
}

/**
 * What a registry host is to a cloud. Patterns match the whole host, without a port: a host that only looks like one of
 * the cloud's must never be sent a token.
 * @throws ReconcileError stalled InvalidReference for any other host
 */
export function readCloudHost(cloud: Cloud, host: string): CloudHost {
  const found = read(cloud, host);
  if (found !== undefined) return found;
  throw stalled(
    'InvalidReference',
    `${host} gets no token of the workload identity ${cloud}: its registries are ${EXPECTED[cloud]}; correct spec.source.repository, or use spec.source.credentials`,
  );
}
