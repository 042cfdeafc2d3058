import { afterAll, beforeAll, test } from "vitest";
import type { Claims } from "../support/hostile-idp.ts";
import { TENANT } from "../support/provider-config.ts";
import { expectCredentials, expectDenied, expectSignedIn } from "./support/refusals.ts";
import { claimsOf, PRIYA } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 10: somebody whose account carries the victim's email, under another `tid` or `oid`, or as a guest. */

let target: Target;
beforeAll(async () => {
  target = await startTarget();
  // The victim has been here before: her name is hers.
  await expectCredentials(target, "entra", PRIYA, HERS);
});
afterAll(() => target.close());

const HERS = { sessionName: "priya@emea.acme.example", tags: { team: "search", "cost-centre": "cc-2010" } };
const TOMAS = claimsOf("entra", "Tomas");
const OTHER_OID = "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4eff";
const OTHER_TENANT = "00000000-0000-4000-8000-000000000000";
const email = PRIYA["email"] ?? null;

test.for<[string, Claims, Parameters<typeof expectDenied>[3]]>([
  ["another oid", { ...PRIYA, oid: OTHER_OID }, "email_taken"],
  ["another oid, and the same sub", { ...PRIYA, oid: OTHER_OID, sub: PRIYA["sub"] }, "email_taken"],
  [
    "another oid, and the email in capitals",
    { ...PRIYA, oid: OTHER_OID, email: "PRIYA@EMEA.acme.example" },
    "email_taken",
  ],
  ["a colleague's account whose email was changed to hers", { ...TOMAS, email }, "email_taken"],
  ["an email without proof, beside another UPN (nOAuth)", { ...TOMAS, email, xms_edov: false }, "email_unverified"],
  ["another tenant", { ...PRIYA, tid: OTHER_TENANT }, "tenant_mismatch"],
  ["no tenant", { ...PRIYA, tid: undefined }, "subject_missing"],
  ["no oid", { ...PRIYA, oid: undefined }, "subject_missing"],
  ["an oid that holds a tenant's separator", { ...PRIYA, oid: `${TENANT}/${OTHER_OID}` }, "subject_missing"],
  ["a guest, by acct", { ...PRIYA, oid: OTHER_OID, acct: 1 }, "guest_refused"],
  ["a guest, by acct as text", { ...PRIYA, oid: OTHER_OID, acct: "1" }, "guest_refused"],
  [
    "a guest, by the UPN",
    { ...PRIYA, oid: OTHER_OID, upn: "priya_emea.acme.example#EXT#@acme.onmicrosoft.com" },
    "guest_refused",
  ],
  [
    "a guest, by the directory that signed them in",
    { ...PRIYA, idp: "https://sts.windows.net/partner/" },
    "guest_refused",
  ],
])("the victim's email under %s: refused, and the victim goes on", async ([, claims, code]) => {
  await expectDenied(target, "entra", claims, code);
  await expectSignedIn(target, "entra", PRIYA);
});

test("the victim's own tid and oid in capitals are the victim", async () => {
  const [tid, oid] = [TENANT.toUpperCase(), (PRIYA["oid"] as string).toUpperCase()];
  const claims = { ...PRIYA, tid, oid };
  await expectCredentials(target, "entra", claims, HERS);
});

test("a colleague under their own email has their own tags and none of hers", async () => {
  await expectCredentials(target, "entra", TOMAS, {
    sessionName: "tomas@emea.acme.example",
    tags: { team: "ml-platform", "cost-centre": "cc-2020" },
  });
});

test("the victim's email by another provider, which may not speak for its domain: refused", async () => {
  await expectDenied(target, "okta", claimsOf("okta", "Jane", { email }), "email_domain");
  await expectCredentials(target, "entra", PRIYA, HERS);
});
