import fc from "fast-check";
import { parse, parseDocument } from "yaml";
import { describe, expect, test } from "vitest";
import { TEMPLATE_NAMES, template } from "../../src/operator/template.ts";
import type { TagRules } from "../../src/flow/tags.ts";
import { acmeConfig } from "../support/federation.ts";

const BASE = "https://rolecall.acme.example";

interface Template {
  Metadata: { Rolecall: { RoleArn: string; Issuer: string } };
  Resources: {
    FederationProvider: { Properties: { Url: string; ClientIdList: string[] } };
    SharedRole: {
      Properties: {
        RoleName: string;
        Path: string;
        MaxSessionDuration: number;
        AssumeRolePolicyDocument: { Version: string; Statement: Statement[] };
        Policies: [{ PolicyDocument: { Version: string; Statement: Statement[] } }];
      };
    };
  };
}
interface Statement {
  Sid: string;
  Effect: string;
  Action: string | string[];
  Resource?: string | string[];
  Condition?: Record<string, Record<string, unknown>>;
}

const read = (text: string): Template => parse(text) as Template;
const trustOf = (text: string): Statement[] =>
  read(text).Resources.SharedRole.Properties.AssumeRolePolicyDocument.Statement;
const permissionsOf = (text: string): Statement[] =>
  read(text).Resources.SharedRole.Properties.Policies[0].PolicyDocument.Statement;

test("the names are those that the command offers, and others are refused", () => {
  const guides = TEMPLATE_NAMES.filter((name) => name.startsWith("idp/"));
  expect(TEMPLATE_NAMES).toEqual([
    "aws/role",
    "aws/deny-person",
    "aws/deny-sessions",
    "aws/break-glass",
    "postgres/ledger",
    ...guides,
  ]);
  expect(guides).toHaveLength(8);
  for (const name of ["aws/role.yaml", "../aws/role", "toString", ""]) {
    expect(() => template(name, acmeConfig(BASE))).toThrow("there is no template of that name");
  }
});

describe("aws/role", () => {
  const text = template("aws/role", acmeConfig(BASE));

  test("is YAML without a warning, and valid for CloudFormation's YAML 1.1 too", () => {
    for (const version of ["1.1", "1.2"] as const) {
      const document = parseDocument(text, { version });
      expect([...document.errors, ...document.warnings]).toEqual([]);
    }
    expect(parse(text, { version: "1.1" })).toEqual(parse(text, { version: "1.2" }));
  });

  test("makes the provider of the federation issuer", () => {
    const { FederationProvider } = read(text).Resources;
    expect(FederationProvider.Properties).toEqual({
      Url: "https://rolecall.acme.example/federation",
      ClientIdList: ["sts.amazonaws.com"],
    });
  });

  test("binds what the token says", () => {
    const [assume, rest, ...others] = trustOf(text);
    expect(others).toEqual([]);
    expect(assume).toEqual({
      Sid: "OnlyAsTheTokenSays",
      Effect: "Allow",
      Principal: { Federated: { Ref: "FederationProvider" } },
      Action: "sts:AssumeRoleWithWebIdentity",
      Condition: {
        StringEquals: {
          "rolecall.acme.example/federation:aud": "sts.amazonaws.com",
          "sts:RoleSessionName": "${rolecall.acme.example/federation:sub}",
          "sts:SourceIdentity": "${rolecall.acme.example/federation:sub}",
          "aws:RequestTag/team": ["search", "ml-platform"],
        },
        StringEqualsIfExists: { "aws:RequestTag/cost-centre": ["cc-1042", "unallocated"] },
        "ForAllValues:StringEquals": { "aws:TagKeys": ["team", "cost-centre"] },
        Null: { "aws:RequestTag/team": "false" },
        Bool: { "sts:RoleAuthorizedByIdp": "true" },
      },
    });
    expect(rest).toMatchObject({ Effect: "Allow", Action: ["sts:TagSession", "sts:SetSourceIdentity"] });
  });

  test("allows the listed models and denies what would leave the session", () => {
    expect(permissionsOf(text)).toEqual([
      {
        Sid: "OnlyTheseModels",
        Effect: "Allow",
        Action: ["bedrock:InvokeModel", "bedrock:InvokeModelWithResponseStream"],
        Resource: [
          "arn:aws:bedrock:*:111122223333:inference-profile/us.anthropic.claude-sonnet-4-5-v1:0",
          "arn:aws:bedrock:*::foundation-model/anthropic.claude-sonnet-4-5-v1:0",
          "arn:aws:bedrock:*::foundation-model/amazon.nova-*",
        ],
      },
      {
        Sid: "NotWithoutTag1",
        Effect: "Deny",
        Action: "bedrock:*",
        Resource: "*",
        Condition: { Null: { "aws:PrincipalTag/team": "true" } },
      },
      {
        Sid: "NothingThatLeavesTheSession",
        Effect: "Deny",
        Action: ["sts:AssumeRole", "bedrock:CallWithBearerToken"],
        Resource: "*",
      },
    ]);
  });

  test.each([
    ["role/BedrockShared", "BedrockShared", "/"],
    ["role/a/b/BedrockShared", "BedrockShared", "/a/b/"],
  ])("%s", (resource, name, path) => {
    const roleArn = `arn:aws-us-gov:iam::111122223333:${resource}`;
    const made = read(template("aws/role", acmeConfig(BASE, { aws: { roleArn, models: ["*"] } })));
    expect(made.Resources.SharedRole.Properties).toMatchObject({ RoleName: name, Path: path });
    expect(made.Metadata.Rolecall.RoleArn).toBe(roleArn);
  });

  test.each([
    [
      "*",
      [
        "arn:aws:bedrock:*::foundation-model/*",
        "arn:aws:bedrock:*:111122223333:inference-profile/*",
        "arn:aws:bedrock:*:111122223333:application-inference-profile/*",
      ],
    ],
    ["amazon.nova-lite-v1:0", ["arn:aws:bedrock:*::foundation-model/amazon.nova-lite-v1:0"]],
    [
      "global.anthropic.x",
      [
        "arn:aws:bedrock:*:111122223333:inference-profile/global.anthropic.x",
        "arn:aws:bedrock:*::foundation-model/anthropic.x",
      ],
    ],
    [
      "arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/a1",
      ["arn:aws:bedrock:us-east-1:111122223333:application-inference-profile/a1"],
    ],
  ])("the model %s", (model, resources) => {
    const [allow] = permissionsOf(template("aws/role", acmeConfig(BASE, { aws: { models: [model] } })));
    expect(allow?.Resource).toEqual(resources);
  });

  test.each([
    [1800, 3600],
    [3600, 3600],
    [43_200, 43_200],
  ])("sessions of %i seconds need a maximum of %i", (sessionDurationSeconds, maximum) => {
    const made = read(template("aws/role", acmeConfig(BASE, { aws: { sessionDurationSeconds } })));
    expect(made.Resources.SharedRole.Properties.MaxSessionDuration).toBe(maximum);
  });

  test("without any tag nobody may bring one", () => {
    const made = template("aws/role", acmeConfig(BASE, { tags: {} }));
    expect(trustOf(made)[0]?.Condition?.["Null"]).toEqual({ "aws:TagKeys": "true" });
    expect(trustOf(made)[0]?.Condition).not.toHaveProperty("ForAllValues:StringEquals");
  });

  test("without a required tag nothing is demanded", () => {
    const made = template(
      "aws/role",
      acmeConfig(BASE, { tags: { team: { from: [{ claim: "team" }], allowed: ["a"] } } }),
    );
    expect(trustOf(made)[0]?.Condition).not.toHaveProperty("Null");
    expect(permissionsOf(made).map((statement) => statement.Sid)).not.toContain("NotWithoutTag1");
  });
});

describe("IAM's size limits", () => {
  const list = (count: number, of: string): string[] => Array.from({ length: count }, (_, index) => `${of}-${index}`);
  const withTags = (tags: TagRules): string => template("aws/role", { ...acmeConfig(BASE), tags });

  test("a list that does not fit is left to the broker, shorter ones stay, and the template says so", () => {
    const made = withTags({
      team: { required: true, from: [], allowed: ["search", "ml-platform"] },
      "cost-centre": { required: true, from: [], allowed: list(300, "cc") },
    });
    const condition = trustOf(made)[0]?.Condition;
    expect(condition?.["StringEquals"]).toHaveProperty("aws:RequestTag/team");
    expect(condition?.["StringEquals"]).not.toHaveProperty("aws:RequestTag/cost-centre");
    expect(condition?.["Null"]).toHaveProperty("aws:RequestTag/cost-centre", "false");
    expect(made).toContain(
      '# Not bound below, because IAM allows a trust policy only 2,048 characters: the allowed values of "cost-centre".',
    );
    expect(JSON.stringify(trustOf(made)).length).toBeLessThan(2048);
  });

  test("keys alone that pass the quota ask for a higher one", () => {
    const keys = Object.fromEntries(list(30, "a-rather-long-key").map((key) => [key, { required: true, from: [] }]));
    const made = withTags(keys);
    expect(made).toMatch(/^# Needs a higher quota "role trust policy length" in IAM: [0-9]+ characters\.\n/);
    expect(parse(made)).toHaveProperty("Resources");
  });

  test("keys that no quota allows are refused", () => {
    const keys = Object.fromEntries(list(50, "x".repeat(120)).map((key) => [key, { required: true, from: [] }]));
    expect(() => withTags(keys)).toThrow("IAM allows 8192");
  });

  test("an issuer that is too long for an identity provider is refused", () => {
    expect(() => template("aws/role", acmeConfig(`https://${"a".repeat(240)}.example`))).toThrow("IAM allows 255");
  });

  test("models that no quota allows are refused", () => {
    const config = acmeConfig(BASE, { aws: { models: list(300, "vendor.a-model-with-a-name") } });
    expect(() => template("aws/role", config)).toThrow("IAM allows 10240");
  });
});

describe("a value stays where it was put", () => {
  const nasty = fc.oneof(
    fc.string({ unit: "binary", minLength: 1, maxLength: 20 }).filter((text) => text.isWellFormed()),
    fc.constantFrom(
      '"',
      "\\",
      "'",
      ": x",
      "\n  Effect: Allow",
      "{ Ref: X }",
      "${aws:PrincipalArn}",
      "*",
      "#",
      "\u0085",
      "\u2028",
      "<%= 1 %>",
      "- a",
      "%>",
      "😀",
    ),
  );
  /** What a policy says when IAM has read its escapes. */
  const plain = (value: unknown): unknown =>
    typeof value === "string" ? value.replaceAll("${$}", "$") : (value as unknown[]).map(plain);

  test("whatever it holds, in both versions of YAML", () => {
    fc.assert(
      fc.property(nasty, nasty, nasty, nasty, (audience, key, value, model) => {
        const tags = { [key]: { required: true, from: [], allowed: [value] } };
        const config = { ...acmeConfig(BASE, { aws: { audience, models: [`arn:${model}`] } }), tags };
        const text = template("aws/role", config);
        for (const version of ["1.1", "1.2"] as const) {
          const made = parse(text, { version }) as Template;
          expect(Object.keys(made)).toEqual([
            "AWSTemplateFormatVersion",
            "Description",
            "Metadata",
            "Resources",
            "Outputs",
          ]);
          expect(made.Resources.FederationProvider.Properties.ClientIdList).toEqual([audience]);
          const { AssumeRolePolicyDocument: trust, Policies } = made.Resources.SharedRole.Properties;
          const [assume, rest] = trust.Statement;
          expect(trust.Statement).toHaveLength(2);
          expect(Object.keys(rest ?? {})).toEqual(["Sid", "Effect", "Principal", "Action"]);
          const equals = assume?.Condition?.["StringEquals"] ?? {};
          expect(Object.keys(equals)).toHaveLength(4);
          // No variable but those that the template itself names.
          const values = JSON.stringify([...Object.values(equals), Policies[0].PolicyDocument.Statement[0]?.Resource]);
          expect(values.replaceAll("${rolecall.acme.example/federation:sub}", "")).not.toMatch(/\$\{(?!\$\})/);
          expect(plain(equals["rolecall.acme.example/federation:aud"])).toBe(audience);
          expect(plain(equals[`aws:RequestTag/${key}`])).toEqual([value]);
          expect(assume?.Condition?.["ForAllValues:StringEquals"]).toEqual({ "aws:TagKeys": [key] });
          expect(Policies[0].PolicyDocument.Statement).toHaveLength(3);
          expect(plain(Policies[0].PolicyDocument.Statement[0]?.Resource)).toEqual([`arn:${model}`]);
        }
      }),
      { numRuns: 300 },
    );
  });
});
