import { runSimulation, type Simulation } from "@cloud-copilot/iam-simulate";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { template } from "../../src/operator/template.ts";
import { allows, readPolicy, type Policy } from "../../src/sandbox/iam-policy.ts";
import { deployRole } from "../../src/sandbox/role-template.ts";
import { JANE, acmeConfig } from "../support/federation.ts";

const BASE = "https://rolecall.acme.example";
const { provider, role } = deployRole(template("aws/role", acmeConfig(BASE)));
const SUB = `${provider.name}:sub`;
const AUD = `${provider.name}:aud`;

/** The request that the shipped trust policy is made for. */
const good: Record<string, string[]> = {
  [AUD]: ["sts.amazonaws.com"],
  [SUB]: [JANE],
  "sts:RoleSessionName": [JANE],
  "sts:SourceIdentity": [JANE],
  "sts:RoleAuthorizedByIdp": ["true"],
  "aws:TagKeys": ["team", "cost-centre"],
  "aws:RequestTag/team": ["search"],
  "aws:RequestTag/cost-centre": ["cc-1042"],
};

/** A second judge, by other people: @cloud-copilot/iam-simulate. */
async function simulated(
  policies: Pick<Simulation, "identityPolicies" | "resourcePolicy">,
  request: Simulation["request"],
): Promise<boolean> {
  const organization = { serviceControlPolicies: [], resourceControlPolicies: [] };
  const answer = await runSimulation({ request, ...organization, ...policies }, {});
  if (answer.resultType === "error") throw new Error(JSON.stringify(answer));
  return answer.overallResult === "Allowed";
}

/** The second judge knows the keys of a few well-known issuers only, so ours goes by the name of one of them. */
const asGoogle = <T>(value: T): T =>
  JSON.parse(JSON.stringify(value).replaceAll(provider.name, "accounts.google.com")) as T;

function trustedBySecondJudge(action: string, context: Record<string, string[]>): Promise<boolean> {
  const single = Object.entries(context).map(([key, values]) => [key, key === "aws:TagKeys" ? values : values[0]]);
  return simulated(
    { identityPolicies: [], resourcePolicy: asGoogle(role.trust) },
    asGoogle({
      principal: provider.arn,
      action,
      resource: { resource: role.arn, accountId: "111122223333" },
      contextVariables: Object.fromEntries(single) as Record<string, string | string[]>,
    }),
  );
}

describe("the shipped trust policy", () => {
  const ask = (context: Record<string, string[]>, federated = provider.arn): boolean =>
    allows(role.trust, { action: "sts:AssumeRoleWithWebIdentity", federated, context });
  const without = (key: string): Record<string, string[]> =>
    Object.fromEntries(Object.entries(good).filter(([name]) => name !== key));

  test("allows what the broker asks for", () => {
    expect(ask(good)).toBe(true);
    expect(ask({ ...without("aws:RequestTag/cost-centre"), "aws:TagKeys": ["team"] })).toBe(true);
    for (const action of ["sts:TagSession", "sts:SetSourceIdentity"]) {
      expect(allows(role.trust, { action, federated: provider.arn, context: {} })).toBe(true);
    }
  });

  test.each([
    ["another provider", good, "arn:aws:iam::111122223333:oidc-provider/evil.example"],
    ["another audience", { ...good, [AUD]: ["other"] }],
    ["another session name", { ...good, "sts:RoleSessionName": ["eve@acme.example"] }],
    ["another source identity", { ...good, "sts:SourceIdentity": ["eve@acme.example"] }],
    ["no subject", without(SUB)],
    ["no source identity", without("sts:SourceIdentity")],
    ["a role that the token does not name", { ...good, "sts:RoleAuthorizedByIdp": ["false"] }],
    ["nothing said about the role", without("sts:RoleAuthorizedByIdp")],
    ["no required tag", { ...without("aws:RequestTag/team"), "aws:TagKeys": ["cost-centre"] }],
    ["no tags", { ...without("aws:RequestTag/team"), "aws:TagKeys": [], "aws:RequestTag/cost-centre": [] }],
    ["a key too many", { ...good, "aws:TagKeys": ["team", "cost-centre", "admin"], "aws:RequestTag/admin": ["x"] }],
    ["a key in another case", { ...good, "aws:TagKeys": ["Team", "cost-centre"] }],
    ["a value off the list", { ...good, "aws:RequestTag/team": ["sales"] }],
    ["a value in another case", { ...good, "aws:RequestTag/team": ["Search"] }],
    ["an optional value off the list", { ...good, "aws:RequestTag/cost-centre": ["cc-1"] }],
  ] as [string, Record<string, string[]>, string?][])("denies %s", (_name, context, federated) => {
    expect(ask(context, federated)).toBe(false);
  });

  test("denies every other action", () => {
    for (const action of ["sts:AssumeRole", "sts:AssumeRoleWithSAML", "sts:GetFederationToken"]) {
      expect(allows(role.trust, { action, federated: provider.arn, context: good })).toBe(false);
    }
  });

  test("is judged as @cloud-copilot/iam-simulate judges it", async () => {
    expect(await trustedBySecondJudge("sts:AssumeRoleWithWebIdentity", good)).toBe(true);
    const values: Record<string, string[][]> = {
      [AUD]: [["sts.amazonaws.com"], ["other"]],
      [SUB]: [[JANE], ["eve@acme.example"]],
      "sts:RoleSessionName": [[JANE], ["eve@acme.example"]],
      "sts:SourceIdentity": [[JANE], ["eve@acme.example"]],
      "sts:RoleAuthorizedByIdp": [["true"], ["false"]],
      "aws:TagKeys": [["team", "cost-centre"], ["team"], ["team", "admin"]],
      "aws:RequestTag/team": [["search"], ["sales"]],
      "aws:RequestTag/cost-centre": [["cc-1042"], ["x"]],
    };
    // Mostly the good value, so that many requests are but one step from being allowed.
    const context = fc.record(
      Object.fromEntries(
        Object.entries(values).map(([key, [first, ...rest]]) => [
          key,
          fc.oneof({ weight: 6, arbitrary: fc.constant(first) }, fc.constantFrom(undefined, ...rest)),
        ]),
      ),
    );
    let allowed = 0;
    await fc.assert(
      fc.asyncProperty(context, async (found) => {
        const present = Object.entries(found).filter((entry): entry is [string, string[]] => entry[1] !== undefined);
        const request = Object.fromEntries(present);
        const answer = ask(request);
        allowed += Number(answer);
        expect(await trustedBySecondJudge("sts:AssumeRoleWithWebIdentity", request)).toBe(answer);
      }),
      { numRuns: 500 },
    );
    expect(allowed).toBeGreaterThan(20);
  });
});

describe("the shipped permission policy", () => {
  const MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0";
  const tagged = { "aws:PrincipalTag/team": ["search"] };
  const rows: [string, boolean, string, string, Record<string, string[]>][] = [
    ["a listed model", true, "bedrock:InvokeModel", MODEL, tagged],
    ["a listed model, streamed", true, "bedrock:InvokeModelWithResponseStream", MODEL, tagged],
    ["an action in another case", true, "Bedrock:invokemodel", MODEL, tagged],
    ["a key in another case", true, "bedrock:InvokeModel", MODEL, { "AWS:principaltag/Team": ["search"] }],
    ["an untagged session", false, "bedrock:InvokeModel", MODEL, {}],
    ["a session with another tag", false, "bedrock:InvokeModel", MODEL, { "aws:PrincipalTag/cost-centre": ["x"] }],
    ["another model", false, "bedrock:InvokeModel", MODEL.replace("nova", "titan"), tagged],
    [
      "another account's profile",
      false,
      "bedrock:InvokeModel",
      "arn:aws:bedrock:us-east-1:9:inference-profile/us.x",
      tagged,
    ],
    ["another Bedrock action", false, "bedrock:CreateProvisionedModelThroughput", MODEL, tagged],
    ["a bearer token", false, "bedrock:CallWithBearerToken", "*", tagged],
    ["another role", false, "sts:AssumeRole", "arn:aws:iam::111122223333:role/Admin", tagged],
    ["another service", false, "s3:GetObject", "arn:aws:s3:::bucket/key", tagged],
  ];
  test.each(rows)("%s: %s", async (_name, expected, action, resource, context) => {
    expect(allows(role.permissions, { action, resource, context })).toBe(expected);
    const single = Object.entries(context).map(([key, values]) => [key, values[0] ?? ""]);
    const request = {
      principal: `arn:aws:sts::111122223333:assumed-role/BedrockShared/${JANE}`,
      action,
      resource: { resource, accountId: "111122223333" },
      contextVariables: Object.fromEntries(single) as Record<string, string>,
    };
    expect(
      await simulated(
        { identityPolicies: [{ name: "p", policy: role.permissions }], resourcePolicy: undefined },
        request,
      ),
    ).toBe(expected);
  });
});

describe("the judge", () => {
  const statement = (more: object): object => ({
    Version: "2012-10-17",
    Statement: [{ Effect: "Allow", Action: "sts:X", ...more }],
  });
  test.each([
    ["an operator", statement({ Condition: { StringLike: { a: "b" } } })],
    ["an operator's other form", statement({ Condition: { "ForAnyValue:StringEquals": { a: "b" } } })],
    ["NotAction", { Version: "2012-10-17", Statement: [{ Effect: "Allow", NotAction: "sts:X" }] }],
    ["NotPrincipal", statement({ NotPrincipal: "*" })],
    ["everybody as principal", statement({ Principal: "*" })],
    ["another kind of principal", statement({ Principal: { AWS: "*" } })],
    ["an older version", { ...statement({}), Version: "2008-10-17" }],
    ["no version", { Statement: [] }],
    ["a variable with a default", statement({ Condition: { StringEquals: { a: "${b, 'c'}" } } })],
  ])("does not guess: %s that it does not know is refused when it is read", (_name, document) => {
    expect(() => readPolicy(document)).toThrow();
  });

  const judge = (document: object, context: Record<string, string[]>): boolean =>
    allows(readPolicy(document) satisfies Policy, { action: "sts:X", context });

  test("`${$}` is a dollar sign, not the start of a variable", () => {
    const policy = statement({ Condition: { StringEquals: { a: "${$}{b}" } } });
    expect(judge(policy, { a: ["${b}"], b: ["c"] })).toBe(true);
    expect(judge(policy, { a: ["c"], b: ["c"] })).toBe(false);
  });

  test("a variable that the request lacks equals nothing, not even an empty value", () => {
    const policy = statement({ Condition: { StringEquals: { a: "${b}" } } });
    expect(judge(policy, { a: [""] })).toBe(false);
    expect(judge(policy, { a: [""], b: [""] })).toBe(true);
  });

  test("a value from the request is never read as a variable", () => {
    const policy = statement({ Condition: { StringEquals: { a: "${b}" } } });
    expect(judge(policy, { a: ["x"], b: ["${c}"], c: ["x"] })).toBe(false);
  });

  test("a Deny wins over any Allow", () => {
    const allow = { Effect: "Allow", Action: "*" };
    const deny = { Effect: "Deny", Action: "sts:*" };
    expect(judge({ Version: "2012-10-17", Statement: [deny, allow] }, {})).toBe(false);
    expect(judge({ Version: "2012-10-17", Statement: [allow, deny] }, {})).toBe(false);
    expect(judge({ Version: "2012-10-17", Statement: [allow] }, {})).toBe(true);
  });
});
