import { z } from "zod";
import { packedBytes } from "../flow/tag-limits.ts";
import type { AwsSession, AwsSessions } from "./aws-sessions.ts";
import { allows } from "./iam-policy.ts";
import type { DeployedRole } from "./role-template.ts";
import { verifySamlAssertion, type SamlIdentity } from "./saml-assertion.ts";
import { sessionName, type FederatedIdentity } from "./session-tags.ts";
import { StsFault } from "./sts-fault.ts";
import { verifyWebIdentity, type PublishedKeys, type WebIdentity } from "./web-identity.ts";

/** What AWS packs into 100 % by captures; below it, the figure stays where it is and warns of nothing. */
const PACKED_LIMIT = 460;
const PACKED_FLOOR = 25;

const roleArn = z.string().min(20).max(2048);
const durationSeconds = z
  .string()
  .regex(/^[0-9]{1,6}$/)
  .transform(Number)
  .pipe(z.int().min(900).max(43_200));
const DEFAULT_DURATION = 3600;

/** Limits of the STS API reference, AssumeRoleWithWebIdentity and AssumeRoleWithSAML. */
const webIdentityParameters = z.object({
  RoleArn: roleArn,
  RoleSessionName: sessionName,
  WebIdentityToken: z.string().min(4).max(20_000),
  DurationSeconds: durationSeconds.default(DEFAULT_DURATION),
});
const samlParameters = z.object({
  RoleArn: roleArn,
  PrincipalArn: z.string().min(20).max(2048),
  SAMLAssertion: z.string().min(4).max(100_000),
  DurationSeconds: durationSeconds.optional(),
});

export interface AssumedSession<Identity extends FederatedIdentity> {
  readonly session: AwsSession;
  readonly identity: Identity;
  readonly packedPolicySize: number;
}

interface Context {
  readonly deployed: DeployedRole;
  readonly sessions: AwsSessions;
  readonly published: PublishedKeys;
  /** Epoch milliseconds. */
  readonly now: number;
}

/**
 * AssumeRoleWithWebIdentity, decided as AWS decides it: parameters, token, roles claim, trust policy (for the call
 * itself, for tags and for a source identity), packed size. Rejects with a {@link StsFault}.
 */
export async function assumeRoleWithWebIdentity(
  form: URLSearchParams,
  context: Context,
): Promise<AssumedSession<WebIdentity>> {
  const { deployed, published, now } = context;
  const { RoleArn, RoleSessionName, WebIdentityToken, DurationSeconds } = readParameters(form, webIdentityParameters);
  const { provider } = deployed;
  if (provider.type !== "AWS::IAM::OIDCProvider")
    throw invalid("No OpenIDConnect provider found in your account for the token's issuer");
  const identity = await verifyWebIdentity(WebIdentityToken, provider, now, published);
  // AWS answers so before it looks at the trust policy.
  if (identity.roles !== undefined && !identity.roles.includes(RoleArn))
    throw invalid("The role is not among those that the token names");
  const call = {
    [`${provider.name}:aud`]: [identity.audience],
    [`${provider.name}:sub`]: [identity.subject],
    "sts:RoleSessionName": [RoleSessionName],
    "sts:RoleAuthorizedByIdp": [String(identity.roles !== undefined)],
  };
  requireTrust(deployed, "sts:AssumeRoleWithWebIdentity", RoleArn, identity, { call, tagging: {} });
  return begin(context, identity, RoleSessionName, DurationSeconds);
}

/**
 * AssumeRoleWithSAML, decided likewise: parameters, assertion, its pair of role and provider, trust policy, packed size.
 * The session lives for the shortest of DurationSeconds, SessionDuration and SessionNotOnOrAfter. Throws a {@link StsFault}.
 */
export function assumeRoleWithSaml(form: URLSearchParams, context: Context): AssumedSession<SamlIdentity> {
  const { deployed, now } = context;
  const { RoleArn, PrincipalArn, SAMLAssertion, DurationSeconds } = readParameters(form, samlParameters);
  const { provider, account } = deployed;
  if (provider.type !== "AWS::IAM::SAMLProvider" || provider.arn !== PrincipalArn)
    throw invalid("Specified provider doesn't exist");
  const identity = verifySamlAssertion(SAMLAssertion, provider, now);
  const { roles, sessionDuration, sessionNotOnOrAfter } = identity;
  const action = "sts:AssumeRoleWithSAML";
  const paired = roles.some((pair) => pair.roleArn === RoleArn && pair.providerArn === PrincipalArn);
  if (!paired) throw notAuthorized(action);
  const call = {
    "saml:aud": [identity.audience],
    "saml:iss": [identity.issuer],
    "saml:sub": [identity.subject],
    "saml:sub_type": [identity.subjectType],
    "saml:namequalifier": [identity.nameQualifier],
    "saml:doc": [`${account}/${provider.name}`],
    "sts:RoleSessionName": [identity.sessionName],
  };
  requireTrust(deployed, action, RoleArn, identity, { call, tagging: { "saml:aud": [identity.audience] } });
  const asked = Math.max(DurationSeconds ?? 0, sessionDuration ?? 0);
  requireDuration(deployed, asked);
  const left = Math.floor((sessionNotOnOrAfter - now) / 1000);
  const whole = Math.min(DurationSeconds ?? sessionDuration ?? DEFAULT_DURATION, sessionDuration ?? Infinity, left);
  return begin(context, identity, identity.sessionName, whole);
}

function begin<Identity extends FederatedIdentity>(
  { deployed, sessions, now }: Context,
  identity: Identity,
  name: string,
  seconds: number,
): AssumedSession<Identity> {
  requireDuration(deployed, seconds);
  const packedPolicySize = packedSize(identity.tags);
  const session = sessions.begin(
    {
      arn: `${deployed.role.arn.split(":iam:")[0]}:sts::${deployed.account}:assumed-role/${deployed.role.name}/${name}`,
      account: deployed.account,
      userId: `${deployed.role.id}:${name}`,
      sourceIdentity: identity.sourceIdentity,
      tags: identity.tags,
      tokenId: identity.tokenId,
    },
    seconds,
    now,
  );
  return { session, identity, packedPolicySize };
}

function requireDuration({ role }: DeployedRole, seconds: number): void {
  if (seconds > role.maxSessionDuration)
    throw validation("The requested DurationSeconds exceeds the MaxSessionDuration set for this role.");
}

function readParameters<T>(form: URLSearchParams, parameters: z.ZodType<T>): T {
  // Session policies would narrow a session; the broker sends none, and nothing here would enforce them.
  const unknown = [...form.keys()].find((key) => /^(?:Policy|PolicyArns|ProviderId)(?:\.|$)/.test(key));
  if (unknown !== undefined) throw validation(`The sandbox does not take ${unknown}`);
  const result = parameters.safeParse(Object.fromEntries(form));
  if (result.success) return result.data;
  throw validation(
    `1 validation error detected: ${result.error.issues[0]?.path.join(".")} failed to satisfy constraint`,
  );
}

type Keys = Readonly<Record<string, string[]>>;

/**
 * Asks the trust policy for each action with the condition keys that AWS documents for that action (Service
 * Authorization Reference, AWS STS) and no others, so that the template can't lean on one that may be missing: `call` are those of
 * the call itself, `tagging` those of sts:TagSession, beside the tags.
 */
function requireTrust(
  { provider, role }: DeployedRole,
  action: string,
  asked: string,
  { tags, transitiveTagKeys, sourceIdentity: source }: FederatedIdentity,
  keys: { readonly call: Keys; readonly tagging: Keys },
): void {
  const tagKeys: Record<string, string[]> = Object.fromEntries(
    Object.entries(tags).map(([key, value]) => [`aws:RequestTag/${key}`, [value]]),
  );
  if (Object.keys(tags).length > 0) tagKeys["aws:TagKeys"] = Object.keys(tags);
  if (transitiveTagKeys.length > 0) tagKeys["sts:TransitiveTagKeys"] = [...transitiveTagKeys];
  const sourceKeys: Keys = source === undefined ? {} : { "sts:SourceIdentity": [source] };
  const allowed = (name: string, context: Keys): boolean =>
    allows(role.trust, { action: name, federated: provider.arn, context });
  const trusted =
    asked === role.arn &&
    allowed(action, { ...keys.call, ...tagKeys, ...sourceKeys }) &&
    (Object.keys(tags).length === 0 || allowed("sts:TagSession", { ...keys.tagging, ...tagKeys })) &&
    (source === undefined || allowed("sts:SetSourceIdentity", sourceKeys));
  if (!trusted) throw notAuthorized(action);
}

function packedSize(tags: Readonly<Record<string, string>>): number {
  const bytes = Object.entries(tags).reduce((sum, [key, value]) => sum + packedBytes(key, Buffer.byteLength(value)), 0);
  const percent = Math.ceil((bytes / PACKED_LIMIT) * 100);
  if (percent <= 100) return PACKED_FLOOR;
  throw new StsFault("PackedPolicyTooLarge", 400, `Serialized token too large for session: ${percent} %`);
}

function notAuthorized(action: string): StsFault {
  return new StsFault("AccessDenied", 403, `Not authorized to perform ${action}`);
}

function invalid(message: string): StsFault {
  return new StsFault("InvalidIdentityToken", 400, message);
}

function validation(message: string): StsFault {
  return new StsFault("ValidationError", 400, message);
}
