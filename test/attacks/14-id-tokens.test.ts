import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { signText } from "../support/hostile-idp.ts";
import { HOSTILE_ID_TOKENS } from "./fixtures/id-tokens.ts";
import { expectDenied, expectSignedIn } from "./support/refusals.ts";
import { JANE } from "./support/sign-in.ts";
import { startTarget, type Target } from "./support/target.ts";

/** Threat 14: ID tokens that the provider did not sign, not for this client, not now, or not for this very request. */

let target: Target;
/** Where a forged header says that keys lie. */
let lure: Server;
let lured = 0;
beforeAll(async () => {
  target = await startTarget();
  lure = createServer((_req, res) => {
    lured += 1;
    res.end('{"keys": []}');
  }).listen(0, "127.0.0.1");
  await once(lure, "listening");
});
afterAll(async () => {
  lure.close();
  await target.close();
});

test.for(Object.entries(HOSTILE_ID_TOKENS))("an ID token %s: refused, in one row", async ([, forge]) => {
  const { okta } = target.idps;
  const address = `http://127.0.0.1:${(lure.address() as AddressInfo).port}`;
  okta.behavior.idToken = (claims) => forge({ claims, key: okta.key, lure: address });
  await expectDenied(target, "okta", JANE, "idp_response_invalid");
  expect(lured).toBe(0);
});

test("no ID token: refused", async () => {
  target.idps.okta.behavior = { tokens: (tokens) => ({ ...tokens, id_token: undefined }) };
  await expectDenied(target, "okta", JANE, "idp_response_invalid");
});

test("what the provider signed is taken, also without kid, with the audience in a list, and from ten minutes back", async () => {
  const { okta } = target.idps;
  okta.behavior = {};
  await expectSignedIn(target, "okta", JANE);
  okta.behavior.idToken = (claims) => {
    const iat = Math.floor(Date.now() / 1000) - 600;
    return signText(okta.key, JSON.stringify({ ...claims, aud: [claims["aud"]], iat }), { kid: undefined, typ: "JWT" });
  };
  await expectSignedIn(target, "okta", JANE);
});
