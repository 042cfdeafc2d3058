import { expect } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import type { ResponseFacts } from "../../src/sandbox/saml/response.ts";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { reasonOf, type BegunSignIn, type SamlCompany } from "./saml-company.ts";

export interface Attack {
  /** The id of the provider; left out: the first. */
  readonly provider?: string;
  /** Undefined: every refusal of SAML's own. */
  readonly reason?: ReasonCode;
  /** The XML to post, of the facts that an honest provider would state. */
  readonly forge: (facts: ResponseFacts, begun: BegunSignIn) => string | Promise<string>;
}

/**
 * Begins a sign-in and posts what is forged: refused with the reason, one `login.denied` in the ledger that has it too, and no session.
 * Then the honest answer to the same sign-in is taken, so that the refusal was for nothing else.
 */
export async function expectRefused(company: SamlCompany, { provider = "saml", reason, forge }: Attack): Promise<void> {
  const browser = company.browser();
  const begun = await browser.begin(provider);
  const facts = browser.facts(begun);
  const before = (await company.rows()).length;
  const answer = await browser.post(begun, await forge(facts, begun));
  const code = await reasonOf(answer);
  expect(code).toEqual(reason ?? expect.stringMatching(/^saml_(malformed|signature_invalid)$/));
  expect(answer.status).toBeGreaterThanOrEqual(400);
  expect(answer.status).toBeLessThan(500);
  expect(answer.headers.getSetCookie()).toEqual([]);
  expect((await company.rows()).slice(before)).toMatchObject([
    { type: "login.denied", provider, outcome: "refused", reason: code },
  ]);
  const honest = await browser.post(begun, signedResponse(facts, company.key));
  expect(honest.status).toBe(303);
  expect(await browser.isSignedIn()).toBe(true);
}
