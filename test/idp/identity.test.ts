import { describe, expect, test } from "vitest";
import type { OidcProvider } from "../../src/config/config.ts";
import { Refusal, type ReasonCode } from "../../src/flow/errors.ts";
import type { Identity, JsonValue } from "../../src/flow/identity.ts";
import { identityFromClaims, personInClaims } from "../../src/idp/identity.ts";
import { TENANT, providerConfig } from "../support/provider-config.ts";

const NOW = Date.UTC(2026, 10, 22);
const OID = "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01";

type Claims = Record<string, JsonValue>;
type Kind = OidcProvider["kind"];

const standard: Claims = { sub: "00u1", email: "jane@acme.example", email_verified: true };
const CLAIMS: Record<Kind, Claims> = {
  okta: standard,
  auth0: { ...standard, sub: "auth0|1" },
  generic: standard,
  entra: { sub: "pairwise", tid: TENANT, oid: OID, email: "jane@acme.example", xms_edov: true },
};

function identify(kind: Kind, change: Claims, paths: string[] = [], over: Partial<OidcProvider> = {}): Identity {
  return identityFromClaims(providerConfig(kind, over), { ...CLAIMS[kind], ...change }, paths, NOW);
}

function codeOf(work: () => unknown): ReasonCode | "accepted" {
  try {
    work();
    return "accepted";
  } catch (error) {
    if (error instanceof Refusal) return error.code;
    throw error;
  }
}

const list = (length: number): string[] => Array.from({ length }, (_, index) => `group-${index}`);
const nested = (depth: number): JsonValue => (depth === 0 ? "leaf" : [nested(depth - 1)]);

describe("an identity is", () => {
  test("what the claims say of the person, with the claims that rules read and no other", () => {
    const claims = { groups: ["a"], profile: { team: "search" }, phone: "1" };
    expect(identify("okta", claims, ["groups", "/profile/team", "absent"])).toEqual({
      provider: "okta",
      directory: "okta",
      subject: "00u1",
      email: "jane@acme.example",
      claims: { groups: ["a"], "/profile/team": "search", absent: null },
      signedInAt: NOW,
      claimsAt: NOW,
    });
  });

  test.each<[Kind, Claims, string]>([
    ["okta", {}, "00u1"],
    ["auth0", {}, "auth0|1"],
    ["generic", {}, "00u1"],
    ["entra", {}, `${TENANT}/${OID}`],
    ["entra", { oid: OID.toUpperCase(), tid: TENANT.toUpperCase() }, `${TENANT}/${OID}`],
  ])("%s %j: the subject %s", (kind, change, subject) => {
    expect(identify(kind, change).subject).toBe(subject);
  });

  test("the email as sent, in its own case", () => {
    expect(identify("okta", { email: "Jane.Doe@ACME.example" }).email).toBe("Jane.Doe@ACME.example");
  });

  test("of the directory that several providers share", () => {
    expect(identify("okta", {}, [], { id: "okta-eu", directory: "staff" })).toMatchObject({
      provider: "okta-eu",
      directory: "staff",
    });
  });
});

const ROWS: [string, Kind, Claims, ReasonCode | "accepted", string[]?, Partial<OidcProvider>?][] = [
  // Subject.
  ["no sub", "okta", { sub: null }, "subject_missing"],
  ["empty sub", "generic", { sub: "" }, "subject_missing"],
  ["sub of another type", "auth0", { sub: 17 }, "subject_missing"],
  ["sub with a control character", "okta", { sub: "00u1\u0000" }, "subject_missing"],
  ["sub with an invisible character", "okta", { sub: "00u1\u200b" }, "subject_missing"],
  ["sub with a filler that is a letter", "okta", { sub: "00u1\u3164" }, "subject_missing"],
  ["sub with a variation selector", "okta", { sub: "00u1\ufe0f" }, "subject_missing"],
  ["sub of 255 characters", "okta", { sub: "x".repeat(255) }, "accepted"],
  ["sub of 256 characters", "okta", { sub: "x".repeat(256) }, "subject_missing"],
  ["lone surrogate in sub", "okta", { sub: "00u\ud800" }, "subject_missing"],
  ["entra without oid", "entra", { oid: null }, "subject_missing"],
  ["entra without tid", "entra", { tid: null }, "subject_missing"],
  ["oid that is no GUID", "entra", { oid: "1/2" }, "subject_missing"],

  // Tenant and organization.
  ["another tenant", "entra", { tid: "00000000-0000-4000-8000-000000000000" }, "tenant_mismatch"],
  ["issuer common", "entra", {}, "tenant_mismatch", [], { issuer: "https://login.microsoftonline.com/common/v2.0" }],
  ["the pinned organization", "auth0", { org_id: "org_a" }, "accepted", [], { organization: "org_a" }],
  ["another organization", "auth0", { org_id: "org_b" }, "tenant_mismatch", [], { organization: "org_a" }],
  ["no organization where one is pinned", "auth0", {}, "tenant_mismatch", [], { organization: "org_a" }],

  // Guests.
  ["acct 0", "entra", { acct: 0 }, "accepted"],
  ["acct 1", "entra", { acct: 1 }, "guest_refused"],
  ["acct as text", "entra", { acct: "1" }, "guest_refused"],
  ["acct of another type", "entra", { acct: [0] }, "guest_refused"],
  ["#EXT# in upn", "entra", { upn: "j_x.example#EXT#@acme.onmicrosoft.com" }, "guest_refused"],
  ["#ext# in preferred_username", "entra", { preferred_username: "j#ext#@acme.example" }, "guest_refused"],
  ["home directory elsewhere", "entra", { idp: "https://sts.windows.net/other/" }, "guest_refused"],
  ["home directory here", "entra", { idp: `https://sts.windows.net/${TENANT}/` }, "accepted"],

  [
    "home directory here, as version 2 writes it",
    "entra",
    { idp: `https://login.microsoftonline.com/${TENANT}/v2.0` },
    "accepted",
  ],
  ["home directory that only names this one", "entra", { idp: `https://p.example/${TENANT}/` }, "guest_refused"],

  // Email.
  ["no email", "okta", { email: null }, "email_missing"],
  ["empty email", "okta", { email: "" }, "email_missing"],
  ["email as a list", "okta", { email: ["jane@acme.example"] }, "email_malformed"],
  ["email as an object", "okta", { email: { value: "jane@acme.example" } }, "email_malformed"],
  ["no @", "okta", { email: "jane" }, "email_malformed"],
  ["two @", "okta", { email: "jane@evil.example@acme.example" }, "email_malformed"],
  ["quoted part", "okta", { email: '"jane@evil.example"@acme.example' }, "email_malformed"],
  ["space", "okta", { email: "jane doe@acme.example" }, "email_malformed"],
  ["comment", "okta", { email: "jane(x)@acme.example" }, "email_malformed"],
  ["line break", "okta", { email: "jane@acme.example\n" }, "email_malformed"],
  ["a filler that is a letter", "okta", { email: "jane\u3164@acme.example" }, "email_malformed"],
  ["a joiner that is a mark", "okta", { email: "ja\u034fne@acme.example" }, "email_malformed"],
  ["bidi mark", "okta", { email: "jane\u202e@acme.example" }, "email_malformed"],
  ["dot at the end of the local part", "okta", { email: "jane.@acme.example" }, "email_malformed"],
  ["two dots", "okta", { email: "ja..ne@acme.example" }, "email_malformed"],
  ["nothing before the @", "okta", { email: "@acme.example" }, "email_malformed"],
  ["full-width @", "okta", { email: "jane\uff20acme.example" }, "email_malformed"],
  ["lone surrogate", "okta", { email: "ja\ud800ne@acme.example" }, "email_malformed"],
  ["local part of 64", "okta", { email: `${"x".repeat(64)}@acme.example` }, "accepted"],
  ["local part of 65", "okta", { email: `${"x".repeat(65)}@acme.example` }, "email_malformed"],
  ["a megabyte", "okta", { email: `${"x".repeat(1_000_000)}@acme.example` }, "email_malformed"],
  ["plus and apostrophe", "okta", { email: "o'neil+bedrock@acme.example" }, "accepted"],
  ["letters of another script", "okta", { email: "jürgen.王@acme.example" }, "accepted"],

  // Verification.
  ["okta: false", "okta", { email_verified: false }, "email_unverified"],
  ["okta: absent", "okta", { email_verified: null }, "email_unverified"],
  ["okta: as text", "okta", { email_verified: "true" }, "email_unverified"],
  ["auth0: 1", "auth0", { email_verified: 1 }, "email_unverified"],
  ["generic: absent", "generic", { email_verified: null }, "email_unverified"],
  ["entra: xms_edov 1", "entra", { xms_edov: 1 }, "accepted"],
  ['entra: xms_edov "1"', "entra", { xms_edov: "1" }, "accepted"],
  ['entra: xms_edov "true"', "entra", { xms_edov: "true" }, "accepted"],
  ["entra: xms_edov 0", "entra", { xms_edov: 0 }, "email_unverified"],
  ["entra: xms_edov [true]", "entra", { xms_edov: [true] }, "email_unverified"],
  ["entra: email_verified is not its proof", "entra", { xms_edov: null, email_verified: true }, "email_unverified"],
  ["entra: email is the UPN", "entra", { xms_edov: null, upn: "Jane@Acme.example" }, "accepted"],
  [
    "entra: email is the preferred username",
    "entra",
    { xms_edov: null, preferred_username: "jane@acme.example" },
    "accepted",
  ],
  ["entra: nOAuth", "entra", { xms_edov: null, upn: "mallory@acme.example" }, "email_unverified"],

  // Domains.
  ["another domain", "okta", { email: "jane@evil.example" }, "email_domain"],
  ["a subdomain", "okta", { email: "jane@sub.acme.example" }, "email_domain"],
  ["a longer domain", "okta", { email: "jane@acme.example.evil.example" }, "email_domain"],
  ["a domain that ends alike", "okta", { email: "jane@notacme.example" }, "email_domain"],
  ["a dot after it", "okta", { email: "jane@acme.example." }, "email_domain"],
  ["Cyrillic a", "okta", { email: "jane@\u0430cme.example" }, "email_domain"],
  ["full-width letters", "okta", { email: "jane@ａcme.example" }, "email_domain"],
  ["ideographic full stop", "okta", { email: "jane@acme。example" }, "email_domain"],
  [
    "the Kelvin sign",
    "okta",
    { email: "jane@\u212aube.example" },
    "email_domain",
    [],
    { emailDomains: ["kube.example"] },
  ],
  ["long s", "okta", { email: "jane@acme\u017f.example" }, "email_domain", [], { emailDomains: ["acmes.example"] }],
  ["an address literal", "okta", { email: "jane@[127.0.0.1]" }, "email_domain"],
  ["upper case", "okta", { email: "jane@ACME.EXAMPLE" }, "accepted"],

  // Overage.
  ["overage of what a rule reads", "entra", { _claim_names: { groups: "src1" } }, "groups_overage", ["groups"]],
  ["overage read by a pointer", "entra", { _claim_names: { groups: "src1" } }, "groups_overage", ["/groups/0"]],
  ["overage of what no rule reads", "entra", { _claim_names: { groups: "src1" } }, "accepted", ["roles"]],
  ["a claim told elsewhere", "generic", { _claim_names: { groups: "src1" } }, "groups_overage", ["/groups/0"]],
  ["claims told elsewhere, in another shape", "okta", { _claim_names: ["groups"] }, "groups_overage", ["team"]],
  ["hasgroups", "entra", { hasgroups: true }, "groups_overage", ["groups"]],
  ["hasgroups that no rule reads", "entra", { hasgroups: true }, "accepted", ["roles"]],
  ["okta: 99 groups", "okta", { groups: list(99) }, "accepted", ["groups"]],
  ["okta: 100 groups", "okta", { groups: list(100) }, "groups_overage", ["groups"]],
  ["okta: 100 groups in a pointer's reach", "okta", { groups: list(100) }, "groups_overage", ["/groups/3"]],
  ["okta: 100 groups deeper", "okta", { my: { groups: list(100) } }, "groups_overage", ["/my/groups"]],
  ["okta: 100 groups that no rule reads", "okta", { groups: list(100) }, "accepted", ["team"]],
  ["okta: 10,000 groups", "okta", { groups: list(10_000) }, "groups_overage", ["groups"]],

  // Bounds.
  ["1,000 entries", "generic", { groups: list(1_000) }, "accepted", ["groups"]],
  ["1,001 entries", "generic", { groups: list(1_001) }, "claim_too_large", ["groups"]],
  ["10,000 groups", "generic", { groups: list(10_000) }, "claim_too_large", ["groups"]],
  ["a claim of a megabyte", "okta", { team: "x".repeat(1_000_000) }, "claim_too_large", ["team"]],
  ["a megabyte that no rule reads", "okta", { team: "x".repeat(1_000_000) }, "accepted", ["groups"]],
  ["bytes count, not characters", "okta", { team: "王".repeat(22_000) }, "claim_too_large", ["team"]],
  ["8 levels", "okta", { team: nested(8) }, "accepted", ["team"]],
  ["9 levels", "okta", { team: nested(9) }, "claim_too_large", ["team"]],
  ["lone surrogate in a claim", "okta", { team: "\ud800" }, "claim_type", ["team"]],
  ["lone surrogate in a name", "okta", { team: { "\ud800": 1 } }, "claim_type", ["team"]],
  ["a number without end", "okta", JSON.parse('{"team": 1e999}') as Claims, "claim_type", ["team"]],

  // Names that mean something to JavaScript.
  [
    "__proto__",
    "okta",
    JSON.parse('{"__proto__": {"admin": true}}') as Claims,
    "accepted",
    ["__proto__", "constructor"],
  ],
];

describe("claims are judged", () => {
  test.each(ROWS)("%s (%s): %j -> %s", (_name, kind, change, outcome, paths = [], over = {}) => {
    expect(codeOf(() => identify(kind, change, paths, over))).toBe(outcome);
  });

  test("100,000 levels of nesting, without exhausting the stack", () => {
    let deep: JsonValue = "leaf";
    for (let level = 0; level < 100_000; level += 1) deep = [deep];
    expect(codeOf(() => identify("okta", { team: deep }, ["team"]))).toBe("claim_too_large");
  });

  test("with paths from an iterator that can be walked once", () => {
    const paths = new Set(["groups"]).values();
    expect(identityFromClaims(providerConfig("okta"), { ...standard, groups: ["a"] }, paths, NOW).claims).toEqual({
      groups: ["a"],
    });
  });

  test("without a claim's value in the message", () => {
    const secret = "s3cr3t";
    for (const change of [{ email: `${secret}@evil.example` }, { email: secret }, { sub: `${secret} ${secret}` }]) {
      expect(() => identify("okta", change)).toThrow(expect.not.objectContaining({ message: secret }) as Error);
      expect(() => identify("okta", change)).not.toThrow(secret);
    }
  });
});

describe("Entra ID: one email under two accounts", () => {
  test("is two people, so that the second has nothing of the first", () => {
    const other = identify("entra", { oid: "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4eff" });
    expect(other.subject).not.toBe(identify("entra", {}).subject);
  });
});

describe("the record of a refusal names", () => {
  test("as much of the person as the claims say", () => {
    const about = personInClaims(providerConfig("okta"), { ...standard, email_verified: false });
    expect(about).toEqual({ provider: "okta", directory: "okta", subject: "00u1", email: "jane@acme.example" });
  });

  test("nothing that is not text", () => {
    const about = personInClaims(providerConfig("entra"), { tid: TENANT, oid: 1, email: {} });
    expect(about).toEqual({ provider: "entra", directory: "entra" });
  });
});
