import { expect } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import type { ResponseFacts } from "../../src/sandbox/saml/response.ts";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { reasonOf, type BegunSignIn, type SamlBrowser, type SamlCompany } from "./saml-company.ts";

export interface Attack {
  /** The id of the provider; left out: the first. */
  readonly provider?: string;
  /** Undefined: every refusal of SAML's own. */
  readonly reason?: ReasonCode;
  /** The XML to post, of the facts that an honest provider would state. */
  readonly forge: (facts: ResponseFacts, begun: BegunSignIn) => string | Promise<string>;
}

/** Sign-ins under way, one a provider, which no attack may end. */
export class Siege {
  readonly #company: SamlCompany;
  readonly #begun = new Map<string, { browser: SamlBrowser; signIn: BegunSignIn }>();

  constructor(company: SamlCompany) {
    this.#company = company;
  }

  /**
   * Posts what is forged as the answer to a sign-in that was really begun: refused with the reason, one `login.denied` in
   * the ledger that has it too, and no session. {@link Siege.end} shows that the sign-in was refused for nothing else.
   */
  async expectRefused({ provider = "saml", reason, forge }: Attack): Promise<void> {
    const { browser, signIn } = await this.#signInAt(provider);
    const before = (await this.#company.rows()).length;
    const answer = await browser.post(signIn, await forge(browser.facts(signIn), signIn));
    const code = await reasonOf(answer);
    expect(code).toEqual(reason ?? expect.stringMatching(/^saml_(malformed|signature_invalid)$/));
    expect(answer.status).toBeGreaterThanOrEqual(400);
    expect(answer.status).toBeLessThan(500);
    expect(answer.headers.getSetCookie()).toEqual([]);
    expect((await this.#company.rows()).slice(before)).toMatchObject([
      { type: "login.denied", provider, outcome: "refused", reason: code },
    ]);
  }

  /** The honest answer to each sign-in that was attacked: taken. */
  async end(): Promise<void> {
    for (const { browser, signIn } of this.#begun.values()) {
      const honest = await browser.post(signIn, signedResponse(browser.facts(signIn), this.#company.key));
      expect(honest.status).toBe(303);
      expect(await browser.isSignedIn()).toBe(true);
    }
  }

  async #signInAt(provider: string): Promise<{ browser: SamlBrowser; signIn: BegunSignIn }> {
    const begun = this.#begun.get(provider);
    if (begun) return begun;
    const browser = this.#company.browser();
    const fresh = { browser, signIn: await browser.begin(provider) };
    this.#begun.set(provider, fresh);
    return fresh;
  }
}
