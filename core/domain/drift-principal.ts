/** Who an identity is for its cloud: `aws 123456789012 arn:… eu-central-1`; see core/domain/plan.ts. */
interface Place {
  cloud: string;
  account: string;
  region: string | undefined;
}

function placeOf(principal: string): Place | undefined {
  const [cloud, account, , region] = principal.split(' ').filter((word) => word !== '');
  return cloud === undefined || account === undefined ? undefined : { cloud, account, region };
}

/**
 * What of account and region differs between the last apply and now, in words; undefined when nothing does, or when one of
 * them is not known. Who looks may be another (the plan identity), where they look may not.
 */
export function otherPlace(applied: string | null, now: string | undefined): string | undefined {
  const before = applied === null ? undefined : placeOf(applied);
  const after = now === undefined ? undefined : placeOf(now);
  if (before === undefined || after === undefined) return undefined;
  if (before.cloud !== after.cloud || before.account !== after.account)
    return `the credentials of the check are of ${after.cloud} ${after.account}; applied was to ${before.cloud} ${before.account}`;
  if (before.region === undefined || after.region === undefined || before.region === after.region) return undefined;
  return `the credentials of the check are for region ${after.region}; applied was to ${before.region}`;
}
