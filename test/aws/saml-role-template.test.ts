import { runSimulation } from "@cloud-copilot/iam-simulate";
import { describe, expect, test } from "vitest";
import { parse, parseDocument } from "yaml";
import { samlMetadata } from "../../src/aws/saml-metadata.ts";
import { template } from "../../src/operator/template.ts";
import { allows, readPolicy, type Policy } from "../../src/sandbox/iam-policy.ts";
import { acmeConfig, JANE, ROLE_ARN } from "../support/federation.ts";
import { newSamlSigningKey, SAML_AUDIENCE, SAML_ISSUER, SAML_PROVIDER } from "../support/saml-federation.ts";

const BASE = "https://rolecall.acme.example";
const config = acmeConfig(BASE, { aws: { federation: "saml", samlProviderArn: SAML_PROVIDER } });
const { certificate } = await newSamlSigningKey();
const metadata = samlMetadata(SAML_ISSUER, [certificate]);
const text = template("aws/role", config, metadata);

interface Template {
  Resources: Record<string, { Type: string; Properties: Record<string, unknown> }>;
  Outputs: Record<string, unknown>;
}
const made = parse(text) as Template;
const trust = made.Resources["SharedRole"]?.Properties["AssumeRolePolicyDocument"] as { Statement: object[] };
const policy: Policy = readPolicy(
  JSON.parse(JSON.stringify(trust).replaceAll('{"Ref":"SamlProvider"}', JSON.stringify(SAML_PROVIDER))),
);

describe("aws/role, by SAML", () => {
  test("is YAML without a warning, and valid for CloudFormation's YAML 1.1 too", () => {
    for (const version of ["1.1", "1.2"] as const) {
      const document = parseDocument(text, { version });
      expect([...document.errors, ...document.warnings]).toEqual([]);
      expect(document.toJS()).toEqual(made);
    }
  });

  test("makes the provider of the broker's metadata, and no other", () => {
    expect(Object.keys(made.Resources)).toEqual(["SamlProvider", "SharedRole"]);
    expect(made.Resources["SamlProvider"]).toEqual({
      Type: "AWS::IAM::SAMLProvider",
      Properties: { Name: "Rolecall", SamlMetadataDocument: metadata },
    });
    expect(made.Outputs).toHaveProperty("SamlProviderArn", { Value: { Ref: "SamlProvider" } });
  });

  test("binds what the assertion says", () => {
    expect(trust.Statement).toEqual([
      {
        Sid: "OnlyAsTheTokenSays",
        Effect: "Allow",
        Principal: { Federated: { Ref: "SamlProvider" } },
        Action: "sts:AssumeRoleWithSAML",
        Condition: {
          StringEquals: {
            "saml:aud": SAML_AUDIENCE,
            "saml:iss": SAML_ISSUER,
            "saml:sub_type": "persistent",
            "sts:RoleSessionName": "${saml:sub}",
            "sts:SourceIdentity": "${saml:sub}",
            "aws:RequestTag/team": ["search", "ml-platform"],
          },
          StringEqualsIfExists: { "aws:RequestTag/cost-centre": ["cc-1042", "unallocated"] },
          "ForAllValues:StringEquals": { "aws:TagKeys": ["team", "cost-centre"] },
          Null: { "aws:RequestTag/team": "false" },
        },
      },
      {
        Sid: "WithTagsAndSourceIdentity",
        Effect: "Allow",
        Principal: { Federated: { Ref: "SamlProvider" } },
        Action: ["sts:TagSession", "sts:SetSourceIdentity"],
      },
    ]);
  });

  test.each([
    ["us-gov-west-1", "aws-us-gov", "https://signin.amazonaws-us-gov.com/saml"],
    ["cn-north-1", "aws-cn", "https://signin.amazonaws.cn/saml"],
  ])("in %s trusts what is meant for %s alone", (region, _partition, audience) => {
    const there = template("aws/role", { ...config, aws: { ...config.aws, region } }, metadata);
    expect(there).toContain(`"saml:aud": ${JSON.stringify(audience)}`);
  });

  test("can't be printed without the metadata", () => {
    expect(() => template("aws/role", config)).toThrow("no SAML metadata");
  });
});

const good: Record<string, string[]> = {
  "saml:aud": [SAML_AUDIENCE],
  "saml:iss": [SAML_ISSUER],
  "saml:sub": [JANE],
  "saml:sub_type": ["persistent"],
  "sts:RoleSessionName": [JANE],
  "sts:SourceIdentity": [JANE],
  "aws:TagKeys": ["team", "cost-centre"],
  "aws:RequestTag/team": ["search"],
  "aws:RequestTag/cost-centre": ["cc-1042"],
};

describe("the shipped trust policy, as two judges read it", () => {
  const without = (key: string): Record<string, string[]> =>
    Object.fromEntries(Object.entries(good).filter(([name]) => name !== key));

  const rows: [string, boolean, Record<string, string[]>][] = [
    ["what the broker asks for", true, good],
    ["no optional tag", true, { ...without("aws:RequestTag/cost-centre"), "aws:TagKeys": ["team"] }],
    ["another recipient", false, { ...good, "saml:aud": ["https://evil.example/saml"] }],
    ["another issuer", false, { ...good, "saml:iss": ["https://evil.example"] }],
    ["a transient name", false, { ...good, "saml:sub_type": ["transient"] }],
    ["another session name than the subject", false, { ...good, "sts:RoleSessionName": ["eve@acme.example"] }],
    ["another source identity than the subject", false, { ...good, "sts:SourceIdentity": ["eve@acme.example"] }],
    ["no source identity", false, without("sts:SourceIdentity")],
    ["no subject", false, without("saml:sub")],
    ["no required tag", false, { ...without("aws:RequestTag/team"), "aws:TagKeys": ["cost-centre"] }],
    ["a value off the list", false, { ...good, "aws:RequestTag/team": ["sales"] }],
    ["a key too many", false, { ...good, "aws:TagKeys": ["team", "cost-centre", "admin"] }],
  ];

  test.each(rows)("%s: %s", async (_name, expected, context) => {
    const action = "sts:AssumeRoleWithSAML";
    expect(allows(policy, { action, federated: SAML_PROVIDER, context })).toBe(expected);
    const single = Object.entries(context).map(([key, values]) => [key, key === "aws:TagKeys" ? values : values[0]]);
    const request = {
      principal: SAML_PROVIDER,
      action,
      resource: { resource: ROLE_ARN, accountId: "111122223333" },
      contextVariables: Object.fromEntries(single) as Record<string, string | string[]>,
    };
    const organization = { serviceControlPolicies: [], resourceControlPolicies: [] };
    const answer = await runSimulation({ request, ...organization, identityPolicies: [], resourcePolicy: policy }, {});
    if (answer.resultType === "error") throw new Error(JSON.stringify(answer));
    expect(answer.overallResult === "Allowed").toBe(expected);
  });
});
