import { z } from "zod";
import { packedBytes } from "../flow/tag-limits.ts";
import type { AwsSession, AwsSessions } from "./aws-sessions.ts";
import { allows } from "./iam-policy.ts";
import type { DeployedRole } from "./role-template.ts";
import { StsFault } from "./sts-fault.ts";
import { verifyWebIdentity, type PublishedKeys, type WebIdentity } from "./web-identity.ts";

/** What AWS packs into 100 % by captures; below it, the figure stays where it is and warns of nothing. */
const PACKED_LIMIT = 460;
const PACKED_FLOOR = 25;

/** Limits of the STS API reference, AssumeRoleWithWebIdentity. */
const parameters = z.object({
  RoleArn: z.string().min(20).max(2048),
  RoleSessionName: z.string().regex(/^[\w+=,.@-]{2,64}$/),
  WebIdentityToken: z.string().min(4).max(20_000),
  DurationSeconds: z
    .string()
    .regex(/^[0-9]{1,6}$/)
    .default("3600")
    .transform(Number)
    .pipe(z.int().min(900).max(43_200)),
});

export interface AssumedSession {
  readonly session: AwsSession;
  readonly identity: WebIdentity;
  readonly packedPolicySize: number;
}

/**
 * AssumeRoleWithWebIdentity, decided as AWS decides it: parameters, token, roles claim, trust policy (for the call
 * itself, for tags and for a source identity), packed size. Rejects with a {@link StsFault}.
 */
export async function assumeRoleWithWebIdentity(
  form: URLSearchParams,
  context: { deployed: DeployedRole; sessions: AwsSessions; published: PublishedKeys; now: number },
): Promise<AssumedSession> {
  const { deployed, sessions, published, now } = context;
  const { RoleArn, RoleSessionName, WebIdentityToken, DurationSeconds } = readParameters(form);
  const identity = await verifyWebIdentity(WebIdentityToken, deployed.provider, now, published);
  // AWS answers so before it looks at the trust policy.
  if (identity.roles !== undefined && !identity.roles.includes(RoleArn)) {
    throw new StsFault("InvalidIdentityToken", 400, "The role is not among those that the token names");
  }
  if (RoleArn !== deployed.role.arn || !trusted(deployed, RoleSessionName, identity)) {
    throw new StsFault("AccessDenied", 403, "Not authorized to perform sts:AssumeRoleWithWebIdentity");
  }
  if (DurationSeconds > deployed.role.maxSessionDuration) {
    throw validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
  }
  const packedPolicySize = packedSize(identity.tags);
  const session = sessions.begin(
    {
      arn: `${deployed.role.arn.split(":iam:")[0]}:sts::${deployed.account}:assumed-role/${deployed.role.name}/${RoleSessionName}`,
      account: deployed.account,
      userId: `${deployed.role.id}:${RoleSessionName}`,
      sourceIdentity: identity.sourceIdentity,
      tags: identity.tags,
      tokenId: identity.tokenId,
    },
    DurationSeconds,
    now,
  );
  return { session, identity, packedPolicySize };
}

function readParameters(form: URLSearchParams): z.infer<typeof parameters> {
  // Session policies would narrow a session; the broker sends none, and nothing here would enforce them.
  const unknown = [...form.keys()].find((key) => /^(?:Policy|PolicyArns|ProviderId)(?:\.|$)/.test(key));
  if (unknown !== undefined) throw validation(`The sandbox does not take ${unknown}`);
  const result = parameters.safeParse(Object.fromEntries(form));
  if (result.success) return result.data;
  throw validation(
    `1 validation error detected: ${result.error.issues[0]?.path.join(".")} failed to satisfy constraint`,
  );
}

/**
 * Asks the trust policy for each action with the condition keys that AWS documents for that action (Service
 * Authorization Reference, AWS STS) and no others, so that the template can't lean on one that may be missing.
 */
function trusted(deployed: DeployedRole, sessionName: string, identity: WebIdentity): boolean {
  const { provider, role } = deployed;
  const { tags, transitiveTagKeys, sourceIdentity, roles } = identity;
  const tagKeys: Record<string, string[]> = Object.fromEntries(
    Object.entries(tags).map(([key, value]) => [`aws:RequestTag/${key}`, [value]]),
  );
  if (Object.keys(tags).length > 0) tagKeys["aws:TagKeys"] = Object.keys(tags);
  if (transitiveTagKeys.length > 0) tagKeys["sts:TransitiveTagKeys"] = [...transitiveTagKeys];
  const source: Record<string, string[]> =
    sourceIdentity === undefined ? {} : { "sts:SourceIdentity": [sourceIdentity] };
  const call = {
    [`${provider.name}:aud`]: [identity.audience],
    [`${provider.name}:sub`]: [identity.subject],
    "sts:RoleSessionName": [sessionName],
    "sts:RoleAuthorizedByIdp": [String(roles !== undefined)],
    ...tagKeys,
    ...source,
  };
  const asks = (action: string, context: Record<string, string[]>): boolean =>
    allows(role.trust, { action, federated: provider.arn, context });
  return (
    asks("sts:AssumeRoleWithWebIdentity", call) &&
    (Object.keys(tags).length === 0 || asks("sts:TagSession", tagKeys)) &&
    (sourceIdentity === undefined || asks("sts:SetSourceIdentity", source))
  );
}

function packedSize(tags: Readonly<Record<string, string>>): number {
  const bytes = Object.entries(tags).reduce((sum, [key, value]) => sum + packedBytes(key, Buffer.byteLength(value)), 0);
  const percent = Math.ceil((bytes / PACKED_LIMIT) * 100);
  if (percent <= 100) return PACKED_FLOOR;
  throw new StsFault("PackedPolicyTooLarge", 400, `Serialized token too large for session: ${percent} %`);
}

function validation(message: string): StsFault {
  return new StsFault("ValidationError", 400, message);
}
