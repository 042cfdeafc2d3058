import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { Machine } from "../support/command-line.ts";
import { accessToken, codeFor, credentials, JANE, redeem } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 18: the caller sends a team, a role, a session name or a source identity of their own: 400, in one row. */

let target: Target;
let access: string;
beforeAll(async () => {
  target = await startTarget();
  access = await accessToken(target, "okta", JANE);
});
afterAll(() => target.close());

type Attack = Parameters<typeof credentials>[2];
const json = (body: string): Attack => ({ body, headers: { "content-type": "application/json" } });
const header = (name: string): Attack => ({ headers: { [name]: "ml-platform" } });

const JANES = { tags: { team: "search", "cost-centre": "cc-1042" }, sessionName: "jane@acme.example" };

async function expectRefused(attack: Attack, code: ReasonCode): Promise<void> {
  const called = target.aws.calls();
  const { answer, rows } = await target.recorded(() => credentials(target, access, attack));
  expect(answer).toMatchObject({ status: 400, body: { code } });
  expect(rows).toMatchObject([{ type: "credentials.denied", reason: code, email: "jane@acme.example" }]);
  expect(JSON.stringify([rows, answer])).not.toContain("ml-platform");
  expect(target.aws.calls()).toBe(called);
}

async function expectHerOwn(attack: Attack): Promise<void> {
  const { answer, rows } = await target.recorded(() => credentials(target, access, attack));
  expect(answer).toMatchObject({ status: 200, body: { tags: JANES.tags } });
  expect(rows.map(({ type }) => type)).toEqual(["credentials.requested", "credentials.issued"]);
  for (const row of rows) expect(row).toMatchObject(JANES);
}

describe("in the body", () => {
  test.for([
    '{"team":"ml-platform"}',
    '{"tags":{"team":"ml-platform"}}',
    '{"Tags":[{"Key":"team","Value":"ml-platform"}]}',
    '{"roleArn":"arn:aws:iam::111122223333:role/ml-platform"}',
    '{"RoleArn":"arn:aws:iam::111122223333:role/ml-platform"}',
    '{"sessionName":"ml-platform"}',
    '{"RoleSessionName":"ml-platform"}',
    '{"sourceIdentity":"ml-platform"}',
    '{"SourceIdentity":"ml-platform"}',
    '{"durationSeconds":900,"team":"ml-platform"}',
    '{"durationSeconds":900,"\\u0074eam":"ml-platform"}',
    '{"team":"search","team":"ml-platform"}',
    '{"__proto__":{"sessionName":"ml-platform"}}',
    '{"constructor":{"prototype":{"team":"ml-platform"}}}',
    '{"":"ml-platform"}',
    '{"email":"ml-platform"}',
    '{"policy":"ml-platform"}',
    '{"transitiveTagKeys":["ml-platform"]}',
  ])("%s", (body) => expectRefused(json(body), "request_not_allowed"));

  test.for([
    '{"durationSeconds":{"team":"ml-platform"}}',
    '[{"team":"ml-platform"}]',
    '"ml-platform"',
    "null",
    '{"team":"ml-platform"',
    '{} {"team":"ml-platform"}',
    "team=ml-platform",
  ])("%s, which is no such object", (body) => expectRefused(json(body), "request_malformed"));

  test.for([
    ["application/x-www-form-urlencoded", "team=ml-platform"],
    [
      "multipart/form-data; boundary=b",
      '--b\r\ncontent-disposition: form-data; name="team"\r\n\r\nml-platform\r\n--b--',
    ],
    ["text/plain", '{"team":"ml-platform"}'],
    ["application/yaml", "team: ml-platform"],
    ["application/merge-patch+json", '{"team":"ml-platform"}'],
    ["application/xml", "<team>ml-platform</team>"],
    ["application/json;charset=x-evil", '{"team":"ml-platform"}'],
  ])("as %s", ([type = "", body = ""]) =>
    expectRefused({ body, headers: { "content-type": type } }, "request_malformed"),
  );
});

test.for([
  "team=ml-platform",
  "Team=ml-platform",
  "roleArn=ml-platform",
  "sessionName=ml-platform",
  "RoleSessionName=ml-platform",
  "sourceIdentity=ml-platform",
  "tags[team]=ml-platform",
  "tags=team%3Dml-platform",
  "te%61m=ml-platform",
  "x=1&team=ml-platform",
  "ml-platform",
  "?team=ml-platform",
])("in the query: ?%s", (query) => expectRefused({ path: `/api/v1/credentials?${query}` }, "request_not_allowed"));

test.for([
  "team",
  "Team",
  "x-team",
  "x-rolecall-team",
  "rolecall-team",
  "x-amz-tag-team",
  "x-principal-tag-team",
  "aws-requesttag-team",
  "x-session-tags",
  "x-amz-tagging",
  "cost-centre",
  "x-cost_centre",
  "x-role",
  "x-role-arn",
  "x-role-name",
  "x-iam-role",
  "x-assumed-role",
  "x-sts-role-arn",
  "x-amz-role-session-name",
  "x-aws-sts-rolesessionname",
  "role_session_name",
  "session-name",
  "x-source-identity",
  "x-amz-source-identity",
  "x-transitive-tag-keys",
])("in the header %s", (name) => expectRefused(header(name), "request_not_allowed"));

test("what clients and proxies send by themselves, and a shorter session: her own credentials", async () => {
  await expectHerOwn({});
  await expectHerOwn(json('{"durationSeconds":900}'));
  await expectHerOwn({
    headers: { "x-forwarded-for": "203.0.113.7", via: "1.1 proxy", "x-request-id": "1", "user-agent": "rolecall/1" },
  });
});

test("a header that means nothing here changes nothing", async () => {
  for (const name of ["x-user", "x-email", "x-forwarded-user", "x-http-method-override", "x-original-url"]) {
    await expectHerOwn(header(name));
  }
});

test.for([
  ["longer than the configured session", "3601"],
  ["longer than a number", "1e400"],
  ["shorter than AWS's shortest", "899"],
  ["less than nothing", "-900"],
])("a session that is %s", async ([, seconds = ""]) => {
  const code: ReasonCode = seconds === "1e400" ? "request_malformed" : "duration_out_of_range";
  await expectRefused(json(`{"durationSeconds":${seconds}}`), code);
});

test("on the way to the token: what was asked for beside the sign-in is in no credentials", async () => {
  const wish = {
    team: "ml-platform",
    role: "admin",
    session_name: "boss",
    login_hint: "boss@acme.example",
    claims: '{"id_token":{"team":{"value":"ml-platform"}}}',
  };
  const { body } = await redeem(target, await codeFor(target, "okta", JANE, wish), {
    team: "ml-platform",
    role: "admin",
  });
  const { answer, rows } = await target.recorded(() => credentials(target, body["access_token"] ?? ""));
  expect(answer).toMatchObject({ status: 200, body: { tags: JANES.tags } });
  expect(rows.at(-1)).toMatchObject(JANES);
});

test("as a flag of the command line: wrong usage, and the broker is not asked", async () => {
  const machine = new Machine();
  const flags = ["--team", "--role", "--role-arn", "--session-name", "--source-identity", "--tags"];
  const runs = await Promise.all(flags.map((flag) => machine.run(["credentials", "--broker", target.url, flag, "x"])));
  expect(runs.map(({ code, stdout }) => [code, stdout])).toEqual(flags.map(() => [2, ""]));
  // Not a flag too many, but nobody has signed in on this machine.
  expect((await machine.run(["credentials", "--broker", target.url])).code).toBe(1);
});
