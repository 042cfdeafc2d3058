import { runSimulation, type Simulation } from "@cloud-copilot/iam-simulate";
import { parse, parseDocument } from "yaml";
import { describe, expect, test } from "vitest";
import { template, type TemplateOptions } from "../../src/operator/template.ts";
import { deployRole } from "../../src/sandbox/role-template.ts";
import { JANE, acmeConfig } from "../support/federation.ts";

const config = acmeConfig("https://rolecall.acme.example");
const MODEL = "arn:aws:bedrock:us-east-1::foundation-model/amazon.nova-pro-v1:0";
const ACCOUNT = "111122223333";

/** Judged by other people's evaluator, @cloud-copilot/iam-simulate. */
async function allowed(
  policies: Pick<Simulation, "identityPolicies" | "resourcePolicy">,
  request: Omit<Simulation["request"], "resource"> & { resource: string },
): Promise<boolean> {
  const resource = { resource: request.resource, accountId: ACCOUNT };
  const organization = { serviceControlPolicies: [], resourceControlPolicies: [] };
  const answer = await runSimulation({ request: { ...request, resource }, ...organization, ...policies }, {});
  if (answer.resultType === "error") throw new Error(JSON.stringify(answer));
  return answer.overallResult === "Allowed";
}

describe("a deny beside the shared role's own policy", () => {
  const shipped = deployRole(template("aws/role", config)).role.permissions;
  const NINE = "2026-11-22T09:00:00Z";
  const TEN = "2026-11-22T10:00:00Z";

  /** Whether `who`, whose session began at `began`, may still call a model. */
  function calls(deny: string, who: string, began: string): Promise<boolean> {
    const identityPolicies = [
      { name: "bedrock", policy: shipped },
      { name: "deny", policy: JSON.parse(deny) as object },
    ];
    return allowed(
      { identityPolicies, resourcePolicy: undefined },
      {
        principal: `arn:aws:sts::${ACCOUNT}:assumed-role/BedrockShared/${who}`,
        action: "bedrock:InvokeModel",
        resource: MODEL,
        contextVariables: {
          "aws:PrincipalTag/team": "search",
          "aws:SourceIdentity": who,
          "aws:TokenIssueTime": began,
        },
      },
    );
  }

  const person = (before?: string): string =>
    template("aws/deny-person", config, undefined, { sessionName: JANE, ...(before !== undefined && { before }) });
  const sessions = (before: string): string => template("aws/deny-sessions", config, undefined, { before });

  test.each([
    ["that person's session", false, person(), JANE, TEN],
    ["a name that holds theirs", true, person(), `mary-${JANE}`, TEN],
    ["another person's session", true, person(), "ravi@acme.example", TEN],
    ["that person's session from before", false, person(TEN), JANE, NINE],
    ["that person's session from after", true, person(TEN), JANE, "2026-11-22T10:00:01Z"],
    ["that person's session from that very second", true, person(TEN), JANE, TEN],
    ["another person's session from before", true, person(TEN), "ravi@acme.example", NINE],
    ["a time in another zone", false, person("2026-11-22T12:00:00+02:00"), JANE, NINE],
    ["anybody's session from before", false, sessions(TEN), "ravi@acme.example", NINE],
    ["anybody's session from after", true, sessions(TEN), "ravi@acme.example", "2026-11-22T10:00:01Z"],
    ["a session from earlier in the same second", false, sessions("2026-11-22T10:00:00.200Z"), JANE, TEN],
  ])("%s: %s", async (_name, expected, deny, who, began) => {
    expect(await calls(deny, who, began)).toBe(expected);
  });

  test("left out, the time is now", async () => {
    const deny = template("aws/deny-sessions", config);
    expect(await calls(deny, JANE, new Date(Date.now() - 60_000).toISOString())).toBe(false);
    expect(await calls(deny, JANE, new Date(Date.now() + 60_000).toISOString())).toBe(true);
  });

  const refused: [string, TemplateOptions, RegExp][] = [
    ["aws/deny-person", {}, /--session-name is missing/],
    // A policy compares exactly: no session has this name, so nobody would be denied.
    ["aws/deny-person", { sessionName: "Jane@acme.example" }, /lower case/],
    ["aws/deny-person", { sessionName: "*" }, /--session-name must be/],
    ["aws/deny-person", { sessionName: "${aws:username}" }, /--session-name must be/],
    ["aws/deny-person", { sessionName: JANE, before: "yesterday" }, /--before must be a time/],
    ["aws/deny-sessions", { before: "2026-11-22" }, /--before must be a time/],
    ["aws/deny-sessions", { before: "2026-11-22T25:00:00Z" }, /--before must be a time/],
    ["aws/deny-sessions", { sessionName: JANE }, /takes no --session-name/],
    ["aws/role", { before: TEN }, /takes no --before/],
  ];
  test.each(refused)("%s %o is refused", (name, options, message) => {
    expect(() => template(name, config, undefined, options)).toThrow(message);
  });
});

interface BreakGlass {
  Resources: {
    BreakGlassRole: {
      Properties: {
        RoleName: string;
        Path: string;
        Tags?: object[];
        AssumeRolePolicyDocument: object;
        Policies: [{ PolicyName: string; PolicyDocument: object }];
      };
    };
    EveryUse: { Properties: { EventPattern: { detail: { requestParameters: { roleArn: string[] } } } } };
  };
}

describe("aws/break-glass", () => {
  const text = template("aws/break-glass", config);
  const { BreakGlassRole, EveryUse } = (parse(text) as BreakGlass).Resources;
  const role = BreakGlassRole.Properties;
  const ARN = `arn:aws:iam::${ACCOUNT}:role/shared/BedrockSharedBreakGlass`;

  test("is YAML without a warning, also for CloudFormation's YAML 1.1", () => {
    for (const version of ["1.1", "1.2"] as const) {
      const document = parseDocument(text, { version });
      expect([...document.errors, ...document.warnings]).toEqual([]);
    }
  });

  test("makes the role that the alarm is about, marked for the bill", () => {
    expect([role.Path, role.RoleName]).toEqual(["/shared/", "BedrockSharedBreakGlass"]);
    expect(EveryUse.Properties.EventPattern.detail.requestParameters.roleArn).toEqual([ARN]);
    expect(role.Tags).toEqual([
      { Key: "team", Value: "break-glass" },
      { Key: "cost-centre", Value: "break-glass" },
    ]);
    const untagged = parse(template("aws/break-glass", { ...config, tags: {} })) as BreakGlass;
    expect(untagged.Resources.BreakGlassRole.Properties).not.toHaveProperty("Tags");
  });

  const good = {
    "aws:username": "ida",
    "aws:MultiFactorAuthPresent": "true",
    "aws:MultiFactorAuthAge": "12",
    "sts:RoleSessionName": "ida",
    "aws:RequestedRegion": "us-east-1",
  };
  const without = (key: keyof typeof good): Record<string, string> =>
    Object.fromEntries(Object.entries(good).filter(([name]) => name !== key));
  const rows: [string, boolean, Record<string, string>, string?][] = [
    ["a user with MFA, under their own name", true, good],
    ["without MFA", false, { ...good, "aws:MultiFactorAuthPresent": "false" }],
    ["nothing said about MFA", false, without("aws:MultiFactorAuthPresent")],
    ["MFA of yesterday", false, { ...good, "aws:MultiFactorAuthAge": "86400" }],
    ["under another name", false, { ...good, "sts:RoleSessionName": JANE }],
    ["by STS of another region, where no alarm is", false, { ...good, "aws:RequestedRegion": "eu-west-1" }],
    ["a role of the account", false, without("aws:username"), `arn:aws:sts::${ACCOUNT}:assumed-role/Admin/ida`],
    ["another account's user", false, good, "arn:aws:iam::999999999999:user/ida"],
  ];
  test.each(rows)(
    "%s: %s",
    async (_name, expected, contextVariables, principal = `arn:aws:iam::${ACCOUNT}:user/ida`) => {
      const own = { Version: "2012-10-17", Statement: { Effect: "Allow", Action: "sts:AssumeRole", Resource: "*" } };
      const answer = await allowed(
        { identityPolicies: [{ name: "own", policy: own }], resourcePolicy: role.AssumeRolePolicyDocument },
        { principal, action: "sts:AssumeRole", resource: ARN, contextVariables },
      );
      expect(answer).toBe(expected);
    },
  );

  test.each([
    ["a model of the configuration", true, "bedrock:InvokeModel", MODEL],
    ["another model", false, "bedrock:InvokeModel", MODEL.replace("nova", "titan")],
    ["the shared role", false, "sts:AssumeRole", config.aws.roleArn],
  ])("%s: %s", async (_name, expected, action, resource) => {
    const identityPolicies = role.Policies.map(({ PolicyName: name, PolicyDocument: policy }) => ({ name, policy }));
    const principal = `arn:aws:sts::${ACCOUNT}:assumed-role/BedrockSharedBreakGlass/ida`;
    const request = { principal, action, resource, contextVariables: {} };
    expect(await allowed({ identityPolicies, resourcePolicy: undefined }, request)).toBe(expected);
  });

  test("is refused for a role whose name leaves no room", () => {
    const roleArn = `arn:aws:iam::${ACCOUNT}:role/${"r".repeat(60)}`;
    expect(() => template("aws/break-glass", acmeConfig("https://r.acme.example", { aws: { roleArn } }))).toThrow(
      "aws.roleArn makes a role name of 70 characters; IAM allows 64",
    );
  });
});
