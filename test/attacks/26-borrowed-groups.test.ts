import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { ENTRA_GROUPS } from "../../src/sandbox/people.ts";
import { changed, faults } from "../support/config-file.ts";
import type { Claims } from "../support/hostile-idp.ts";
import { expectCredentials, expectSignedIn } from "./support/refusals.ts";
import { ENTITIES, samlIdps, signInBySaml, type SamlIdps } from "./support/saml.ts";
import { accessToken, accessTokenIn, ANA, claimsOf, credentials, JANE, PRIYA } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 26: the admin of one provider makes a group, or a claim, that is called like another provider's. */

let target: Target;
let saml: SamlIdps;
beforeAll(async () => {
  saml = await samlIdps();
  target = await startTarget(saml.options);
});
afterAll(() => target.close());

const TEAM = "https://acme.example/team";

describe("gains nothing by what another provider's rules read", () => {
  test.for<["okta" | "entra" | "auth0", string, Claims]>([
    ["entra", "Okta's group", { ...PRIYA, groups: ["bedrock-search"] }],
    ["entra", "Auth0's claim", { ...PRIYA, groups: undefined, [TEAM]: "search" }],
    ["okta", "Entra ID's group", { ...JANE, groups: [ENTRA_GROUPS.search] }],
    ["okta", "Auth0's claim", { ...JANE, groups: undefined, [TEAM]: "search" }],
    ["auth0", "Okta's group", { ...ANA, [TEAM]: undefined, groups: ["bedrock-search"] }],
    ["auth0", "Entra ID's group", { ...ANA, [TEAM]: undefined, groups: [ENTRA_GROUPS.search] }],
  ])("%s with %s: no team, in one row", async ([id, , claims]) => {
    const access = await accessToken(target, id, claims);
    const { answer, rows } = await target.recorded(() => credentials(target, access));
    expect(answer).toMatchObject({ status: 403, body: { code: "tag_missing" } });
    expect(rows).toMatchObject([{ type: "credentials.denied", reason: "tag_missing", provider: id }]);
    // The trace says that those rules listen to others.
    const others = rows[0]?.trace?.filter(({ tag, outcome }) => tag === "team" && outcome === "other provider");
    expect(others).toHaveLength(2);
  });

  test("the other's group beside their own: their own team, whatever the other one is", async () => {
    await expectCredentials(
      target,
      "okta",
      { ...JANE, groups: ["bedrock-search", ENTRA_GROUPS.mlPlatform], [TEAM]: "ml-platform" },
      { sessionName: "jane@acme.example", tags: { team: "search", "cost-centre": "cc-1042" } },
    );
  });

  test("the honest people of each provider have their team", async () => {
    for (const [id, claims] of [
      ["okta", JANE],
      ["entra", PRIYA],
      ["auth0", ANA],
    ] as const) {
      expect(await credentials(target, await accessToken(target, id, claims))).toMatchObject({
        status: 200,
        body: { tags: { team: "search" } },
      });
    }
  });
});

describe("by SAML gains nothing either", () => {
  test.for<["okta" | "entra" | "auth0", string, Claims]>([
    ["entra", "Okta's group", { ...PRIYA, groups: ["bedrock-search"] }],
    ["okta", "Entra ID's group", { ...JANE, groups: [ENTRA_GROUPS.search] }],
    ["okta", "Auth0's claim", { ...JANE, groups: undefined, [TEAM]: "search" }],
    ["auth0", "Okta's group", { ...ANA, [TEAM]: undefined, groups: ["bedrock-search"] }],
  ])("%s with %s: no team, in one row", async ([id, , claims]) => {
    const { jar, answer: signedIn } = await signInBySaml(target, saml, id, claims);
    expect(signedIn.status).toBe(303);
    const access = await accessTokenIn(target, jar);
    const { answer, rows } = await target.recorded(() => credentials(target, access));
    expect(answer).toMatchObject({ status: 403, body: { code: "tag_missing" } });
    expect(rows).toMatchObject([{ type: "credentials.denied", reason: "tag_missing", provider: `${id}-saml` }]);
  });

  test("the honest people of each provider have their team, and the name that they have by OpenID Connect", async () => {
    for (const [id, claims] of [
      ["okta", JANE],
      ["entra", PRIYA],
      ["auth0", ANA],
    ] as const) {
      const { jar } = await signInBySaml(target, saml, id, claims);
      const { answer, rows } = await target.recorded(async () => credentials(target, await accessTokenIn(target, jar)));
      expect(answer).toMatchObject({ status: 200, body: { tags: { team: "search" } } });
      expect(rows.at(-1)).toMatchObject({ type: "credentials.issued", sessionName: claims["email"] });
    }
  });

  test("nor by an attribute that says which provider it is", async () => {
    const posing = { provider: "okta", directory: "okta", iss: ENTITIES.okta, Issuer: ENTITIES.okta };
    const { answer } = await signInBySaml(target, saml, "entra", { ...claimsOf("entra", "Tomas"), ...posing });
    expect(answer.status).toBe(303);
    const row = (await target.rows()).at(-1);
    expect(row).toMatchObject({ provider: "entra-saml", directory: "entra", email: "tomas@emea.acme.example" });
  });
});

test("a provider names itself in nothing that it sends", async () => {
  const posing = { provider: "okta", idp: undefined, iss: target.idps.entra.issuer, directory: "okta" };
  await expectSignedIn(target, "entra", { ...claimsOf("entra", "Tomas"), ...posing });
  const rows = await target.rows();
  expect(rows.at(-1)).toMatchObject({ provider: "entra", directory: "entra", email: "tomas@emea.acme.example" });
});

describe("the configuration", () => {
  const rule = { claim: "groups", match: ["security-audit"] };
  test.for(["auditor", "admin", "finance"])(
    "takes no rule for an %s that names no provider, or one that is not there",
    (role) => {
      const pathsOf = (access: object): string[] => faults(changed(`access/${role}`, [access])).map(({ path }) => path);
      expect(pathsOf(rule)).toEqual([`access.${role}[0].provider`]);
      expect(pathsOf({ ...rule, provider: "gone" })).toEqual([`access.${role}[0].provider`]);
      expect(pathsOf({ ...rule, provider: "okta" })).toEqual([]);
    },
  );

  test("takes no tag rule that listens to a provider that is not there", () => {
    const from = (providers: string[]): object =>
      changed("tags/team/from", [{ claim: "groups", match: { a: "search" }, providers }]);
    expect(faults(from(["gone"])).map(({ path }) => path)).toEqual(["tags.team.from[0].providers[0]"]);
    expect(faults(from(["okta"]))).toEqual([]);
  });
});
