import { afterAll, beforeAll, expect, test } from "vitest";
import type { Claims } from "../support/hostile-idp.ts";
import { changed, entra, faults, productionEnv, okta, TENANT as CONFIGURED } from "../support/config-file.ts";
import { TENANT } from "../support/provider-config.ts";
import { expectDenied, expectSignedIn } from "./support/refusals.ts";
import { PRIYA } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 11: a token that Microsoft signed with the one key set of all tenants, for somebody of another tenant. */

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.close());

const OTHER = "00000000-0000-4000-8000-000000000000";
const issuer = (tenant: string): string => target.idps.entra.issuer.replace(TENANT, tenant);

// First: what was discovered once is kept for a while.
test("discovery that names every tenant: nobody is sent there, nobody is there to record, and it mends itself", async () => {
  const begin = (): Promise<Response> => fetch(`${target.url}/login/entra`, { redirect: "manual" });
  target.idps.entra.behavior.metadata = (document) => ({ ...document, issuer: issuer("{tenantid}") });
  const { answer, rows } = await target.recorded(begin);
  expect([answer.status, answer.headers.get("location")]).toEqual([400, null]);
  expect(rows).toEqual([]);
  expect(await target.counted("issuer_mismatch")).toBe(1);
  target.idps.entra.behavior = {};
  expect((await begin()).status).toBe(302);
});

// The stand-in signs all of these with the same key, as Microsoft does.
test.for<[string, () => Claims, "idp_response_invalid" | "tenant_mismatch"]>([
  ["its own tid and issuer", () => ({ tid: OTHER, iss: issuer(OTHER) }), "idp_response_invalid"],
  ["its own tid under our issuer", () => ({ tid: OTHER }), "tenant_mismatch"],
  ["our tid under its own issuer", () => ({ iss: issuer(OTHER) }), "idp_response_invalid"],
  ["the issuer that discovery of `common` names", () => ({ iss: issuer("{tenantid}") }), "idp_response_invalid"],
  ["the issuer `common`", () => ({ iss: issuer("common") }), "idp_response_invalid"],
  ["our issuer in capitals", () => ({ iss: issuer(TENANT.toUpperCase()) }), "idp_response_invalid"],
  ["the tenant of personal accounts", () => ({ tid: "9188040d-6c67-4c5b-b112-36a304b66dad" }), "tenant_mismatch"],
  ["both, as a list", () => ({ iss: [issuer(TENANT), issuer(OTHER)] }), "idp_response_invalid"],
])("a token with %s: refused, one of our tenant is taken", async ([, change, code]) => {
  await expectDenied(target, "entra", { ...PRIYA, ...change() }, code);
  await expectSignedIn(target, "entra", PRIYA);
});

test("the configuration takes no issuer of more than one tenant", () => {
  const of = (name: string): object =>
    changed("providers", [okta, entra(`https://login.microsoftonline.com/${name}/v2.0`)]);
  for (const name of ["common", "organizations", "consumers", "acme.onmicrosoft.com"]) {
    expect(faults(of(name), productionEnv).map(({ path }) => path)).toEqual(["providers[1].issuer"]);
  }
  expect(faults(of(CONFIGURED), productionEnv)).toEqual([]);
});
