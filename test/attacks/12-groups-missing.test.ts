import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { Claims } from "../support/hostile-idp.ts";
import { expectCredentials, expectDenied, expectSignedIn } from "./support/refusals.ts";
import { accessToken, credentials, JANE, PRIYA, type Answer } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 12: the list of groups was left out or is missing; a team is never guessed, nor asked for where the claim says. */

let target: Target;
/** Where the claim says that the groups could be fetched: whoever writes it would like the broker's requests. */
let lure: Server;
let lured = 0;
beforeAll(async () => {
  target = await startTarget();
  lure = createServer((_req, res) => {
    lured += 1;
    res.end('{"value": ["5c1f3a52-6a0e-4c1b-9a52-0d2f7d3a9b10"]}');
  }).listen(0, "127.0.0.1");
  await once(lure, "listening");
});
afterAll(async () => {
  lure.close();
  await target.close();
});

const PRIYAS = { sessionName: "priya@emea.acme.example", tags: { team: "search", "cost-centre": "cc-2010" } };
const JANES = { sessionName: "jane@acme.example", tags: { team: "search", "cost-centre": "cc-1042" } };
const elsewhere = (names: readonly string[] = ["groups"]): Claims => {
  const endpoint = `http://127.0.0.1:${(lure.address() as AddressInfo).port}/getMemberObjects`;
  return {
    _claim_names: Object.fromEntries(names.map((name) => [name, "src1"])),
    _claim_sources: { src1: { endpoint, access_token: "t" } },
  };
};

test.for<[string, () => Claims]>([
  ["names where to fetch them", () => ({ ...PRIYA, groups: undefined, ...elsewhere() })],
  ["names where to fetch them, and sends some as well", () => ({ ...PRIYA, ...elsewhere() })],
  ["only says that there are some", () => ({ ...PRIYA, groups: undefined, hasgroups: true })],
  ["only says so, as text", () => ({ ...PRIYA, groups: undefined, hasgroups: "true" })],
  [
    "sends them in a token inside the token",
    () => ({
      ...PRIYA,
      groups: undefined,
      _claim_names: { groups: "src1" },
      _claim_sources: { src1: { JWT: "e30.eyJncm91cHMiOlsiNWMxZjNhNTIiXX0." } },
    }),
  ],
])("Entra ID %s: refused, nothing is fetched, and whoever has few groups gets in", async ([, claims]) => {
  await expectDenied(target, "entra", claims(), "groups_overage");
  expect(lured).toBe(0);
  await expectSignedIn(target, "entra", PRIYA);
});

test("a claim that no rule reads may lie elsewhere: nothing is fetched, and nobody is refused for it", async () => {
  await expectCredentials(target, "entra", { ...PRIYA, ...elsewhere(["photo"]) }, PRIYAS);
  expect(lured).toBe(0);
});

test("a provider that sends the first hundred groups of a longer list: refused", async () => {
  const groups = ["bedrock-search", ...Array.from({ length: 99 }, (_, i) => `group-${i}`)];
  await expectDenied(target, "okta", { ...JANE, groups }, "groups_overage");
  await expectCredentials(target, "okta", { ...JANE, groups: groups.slice(0, 99) }, JANES);
});

test.for<[string, Claims, string]>([
  ["no groups at all", { groups: undefined }, "tag_missing"],
  ["none", { groups: [] }, "tag_missing"],
  ["groups of no team", { groups: ["Everyone"] }, "tag_missing"],
  ["a group's name in other letters", { groups: ["Bedrock-Search"] }, "tag_missing"],
  ["a group's name with a space", { groups: ["bedrock-search "] }, "tag_missing"],
  ["all groups in one text", { groups: "Everyone,bedrock-search" }, "tag_missing"],
  ["groups as objects", { groups: [{ name: "bedrock-search" }] }, "claim_type"],
  ["the groups of two teams", { groups: ["bedrock-search", "bedrock-ml"] }, "tag_ambiguous"],
])("%s: signed in, and refused credentials by name, once", async ([, change, code]) => {
  const access = await accessToken(target, "okta", { ...JANE, ...change });
  const called = target.aws.calls();
  const { answer, rows } = await target.recorded<Answer>(() => credentials(target, access));
  expect(answer).toMatchObject({ status: 403, body: { code } });
  expect(rows.map(({ type, reason }) => `${type} ${String(reason)}`)).toEqual([`credentials.denied ${code}`]);
  expect(rows[0]?.tags).toBeUndefined();
  expect(target.aws.calls()).toBe(called);
});
