import { parse } from "yaml";
import { samlAudience } from "../aws/saml-response.ts";
import type { Config } from "../config/config.ts";
import { eta, policyLiteral, roleParts, yamlText } from "./aws-template.ts";
import { bedrockResources } from "./bedrock-resources.ts";
import { TemplateError } from "./template-error.ts";

/** IAM quotas, in characters without white space: the second may be raised on request, the third may not. */
const TRUST_POLICY = 2048;
const TRUST_POLICY_RAISED = 8192;
const ROLE_POLICY = 10_240;
/** IAM API reference, CreateOpenIDConnectProvider. */
const PROVIDER_URL = 255;

/** A tag whose values the trust policy could hold fast. */
interface BoundTag {
  readonly key: string;
  readonly required: boolean;
  readonly allowed: readonly string[];
}

/**
 * CloudFormation for the OIDC or SAML provider and the shared role; the latter's metadata is `samlMetadata`. The trust policy binds the allowed values of as many tags
 * as fit into IAM's quota; which are left out stands in a comment, and the broker checks them all the same. Throws
 * {@link TemplateError} where no quota that AWS grants would do.
 */
export function awsRole(config: Config, samlMetadata?: string): string {
  const trusted = trustOf(config, samlMetadata);
  // The longest list goes first: the others may fit without it.
  const tags = boundTags(config).sort((a, b) => sizeOf(a.allowed) - sizeOf(b.allowed));
  for (let count = tags.length; ; count -= 1) {
    const text = renderRole(config, trusted, tags.slice(0, count), tags.slice(count));
    const { trust, permissions } = policySizes(text);
    if (trust > TRUST_POLICY && count > 0) continue;
    requireSize("the tags make a trust policy", trust, TRUST_POLICY_RAISED);
    requireSize("aws.models and the required tags make a permission policy", permissions, ROLE_POLICY);
    if (trust <= TRUST_POLICY) return text;
    return `# Needs a higher quota "role trust policy length" in IAM: ${trust} characters.\n${text}`;
  }
}

function issuerOf({ baseUrl }: Config): string {
  return `${baseUrl}/federation`;
}

function requireSize(what: string, size: number, limit: number): void {
  if (size > limit) throw new TemplateError(`${what} of ${size} characters; IAM allows ${limit}`);
}

/** What the trust policy says of whom it trusts, in condition keys. */
interface Trusted {
  /** The resource that stands for the broker: a name of its own each, since CloudFormation changes no resource's type. */
  readonly provider: "FederationProvider" | "SamlProvider";
  readonly action: string;
  readonly audience: string;
  readonly audienceKey: string;
  readonly subjectKey: string;
  /** Undefined: by OIDC. */
  readonly saml: { readonly name: string; readonly metadata: string } | undefined;
}

function trustOf(config: Config, samlMetadata: string | undefined): Trusted {
  const { federation, samlProviderArn = "", audience, region } = config.aws;
  if (federation === "saml") {
    if (samlMetadata === undefined) throw new TemplateError("there is no SAML metadata of the broker");
    return {
      provider: "SamlProvider",
      action: "sts:AssumeRoleWithSAML",
      audience: samlAudience(region),
      audienceKey: "saml:aud",
      subjectKey: "saml:sub",
      saml: { name: samlProviderArn.split("/")[1] ?? "", metadata: samlMetadata },
    };
  }
  const issuer = issuerOf(config);
  requireSize("baseUrl makes an issuer", issuer.length, PROVIDER_URL);
  const name = issuer.replace(/^https?:\/\//, "");
  return {
    provider: "FederationProvider",
    action: "sts:AssumeRoleWithWebIdentity",
    audience,
    audienceKey: `${name}:aud`,
    subjectKey: `${name}:sub`,
    saml: undefined,
  };
}

function renderRole(
  config: Config,
  trusted: Trusted,
  bound: readonly BoundTag[],
  unbound: readonly BoundTag[],
): string {
  const { roleArn, models, sessionDurationSeconds } = config.aws;
  const { name, path } = roleParts(roleArn);
  return eta.render("./aws/role.yaml", {
    text: yamlText,
    literal: policyLiteral,
    issuer: issuerOf(config),
    ...trusted,
    roleArn,
    roleName: name,
    rolePath: path,
    // IAM takes 3600 at least.
    maxSessionDuration: Math.max(3600, sessionDurationSeconds),
    tagKeys: Object.keys(config.tags),
    requiredTags: Object.keys(config.tags).filter((key) => config.tags[key]?.required === true),
    boundTags: bound,
    unboundTags: unbound.map((tag) => tag.key),
    resources: bedrockResources(models, roleArn),
  });
}

function boundTags(config: Config): BoundTag[] {
  return Object.entries(config.tags).flatMap(([key, { required = false, allowed = [] }]) =>
    allowed.length === 0 ? [] : [{ key, required, allowed }],
  );
}

function policySizes(text: string): { trust: number; permissions: number } {
  const { Resources } = parse(text) as {
    Resources: {
      SharedRole: { Properties: { AssumeRolePolicyDocument: unknown; Policies: { PolicyDocument: unknown }[] } };
    };
  };
  const { AssumeRolePolicyDocument: trust, Policies } = Resources.SharedRole.Properties;
  return { trust: sizeOf(trust), permissions: sizeOf(Policies.map((policy) => policy.PolicyDocument)) };
}

/** Characters as IAM counts them; `{ Ref: … }` is shorter than the ARN that takes its place. */
function sizeOf(policy: unknown): number {
  const providerArn = 128;
  const json = JSON.stringify(policy);
  return json.length + (json.match(/\{"Ref":/g)?.length ?? 0) * providerArn;
}
