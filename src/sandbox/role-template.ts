import { createHash } from "node:crypto";
import { parse } from "yaml";
import { z } from "zod";
import { readPolicy, type Policy } from "./iam-policy.ts";
import { registeredMetadata, type RegisteredMetadata } from "./registered-metadata.ts";

export interface DeployedOidcProvider {
  readonly type: "AWS::IAM::OIDCProvider";
  readonly arn: string;
  /** Exactly as registered. */
  readonly url: string;
  /** The URL without its scheme, as condition keys begin. */
  readonly name: string;
  readonly audiences: readonly string[];
}

export interface DeployedSamlProvider {
  readonly type: "AWS::IAM::SAMLProvider";
  readonly arn: string;
  readonly account: string;
  /** The last part of its ARN. */
  readonly name: string;
  readonly metadata: RegisteredMetadata;
}

/** What `rolecall-broker template aws/role` made, as if it had been deployed. */
export interface DeployedRole {
  readonly account: string;
  readonly provider: DeployedOidcProvider | DeployedSamlProvider;
  readonly role: {
    readonly arn: string;
    readonly name: string;
    /** `AROA…`, the same at every start. */
    readonly id: string;
    readonly maxSessionDuration: number;
    readonly trust: Policy;
    readonly permissions: Policy;
  };
}

const template = z.object({
  Metadata: z.object({ Rolecall: z.object({ RoleArn: z.string() }) }),
  Resources: z.object({
    FederationProvider: z
      .object({
        Type: z.literal("AWS::IAM::OIDCProvider"),
        Properties: z.object({ Url: z.string(), ClientIdList: z.array(z.string()).min(1).max(100) }),
      })
      .optional(),
    SamlProvider: z
      .object({
        Type: z.literal("AWS::IAM::SAMLProvider"),
        Properties: z.object({ Name: z.string().regex(/^[\w.-]{1,128}$/), SamlMetadataDocument: z.string().min(1000) }),
      })
      .optional(),
    SharedRole: z.object({
      Type: z.literal("AWS::IAM::Role"),
      Properties: z.object({
        RoleName: z.string(),
        Path: z.string(),
        MaxSessionDuration: z.int().min(3600).max(43200),
        AssumeRolePolicyDocument: z.unknown(),
        Policies: z.tuple([z.object({ PolicyDocument: z.unknown() })]),
      }),
    }),
  }),
});

/**
 * The provider and the role of a rendered `aws/role` template. The account is that of the role in its metadata, which
 * must be the role that its resources make. Throws where the template is another one.
 */
export function deployRole(text: string): DeployedRole {
  const { Metadata, Resources } = template.parse(parse(text));
  const properties = Resources.SharedRole.Properties;
  const { RoleName: roleName, Path: path } = properties;
  const [, partition = "", , , account = ""] = Metadata.Rolecall.RoleArn.split(":");
  const arn = `arn:${partition}:iam::${account}:role${path}${roleName}`;
  if (arn !== Metadata.Rolecall.RoleArn) throw new Error("the template's role is not the one that its metadata names");
  const provider = deployProvider(Resources, partition, account);
  const logicalId = provider.type === "AWS::IAM::OIDCProvider" ? "FederationProvider" : "SamlProvider";
  const trust = readPolicy(resolveRefs(properties.AssumeRolePolicyDocument, { [logicalId]: provider.arn }));
  // IAM: MalformedPolicyDocument.
  if (trust.Statement.some(({ Principal }) => Principal === undefined))
    throw new Error("a trust policy needs principals");
  return {
    account,
    provider,
    role: {
      arn,
      name: roleName,
      id: `AROA${createHash("sha256").update(arn).digest("hex").slice(0, 17).toUpperCase()}`,
      maxSessionDuration: properties.MaxSessionDuration,
      trust,
      permissions: readPolicy(properties.Policies[0].PolicyDocument),
    },
  };
}

function deployProvider(
  { FederationProvider: oidc, SamlProvider: saml }: z.infer<typeof template>["Resources"],
  partition: string,
  account: string,
): DeployedRole["provider"] {
  if (oidc && !saml) {
    const { Url: url, ClientIdList: audiences } = oidc.Properties;
    const name = url.replace(/^https?:\/\//, "");
    return { type: oidc.Type, arn: `arn:${partition}:iam::${account}:oidc-provider/${name}`, url, name, audiences };
  }
  if (!saml || oidc) throw new Error("the template makes one identity provider, OIDC or SAML");
  const { Name: name, SamlMetadataDocument: document } = saml.Properties;
  const arn = `arn:${partition}:iam::${account}:saml-provider/${name}`;
  return { type: saml.Type, arn, account, name, metadata: registeredMetadata(document) };
}

/** CloudFormation's `{ Ref: NAME }`, wherever it stands. */
function resolveRefs(value: unknown, refs: Readonly<Record<string, string>>): unknown {
  if (Array.isArray(value)) return value.map((item) => resolveRefs(item, refs));
  if (typeof value !== "object" || value === null) return value;
  if ("Ref" in value && typeof value.Ref === "string") return refs[value.Ref] ?? value;
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, resolveRefs(item, refs)]));
}
