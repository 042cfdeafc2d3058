import type { StandInId } from "../../../src/sandbox/idp.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import type { ResponseFacts } from "../../../src/sandbox/saml/response.ts";
import { signedResponse } from "../../../src/sandbox/saml/sign.ts";
import type { CookieJar } from "../../support/cookie-jar.ts";
import type { Claims } from "../../support/hostile-idp.ts";
import { TENANT } from "../../support/provider-config.ts";
import { SamlBrowser, type BegunSignIn } from "../../support/saml-company.ts";
import type { Target, TargetOptions } from "./target.ts";

/** What the SAML provider of each directory calls itself. */
export const ENTITIES = {
  okta: "http://www.okta.com/exk1",
  entra: `https://sts.windows.net/${TENANT}/`,
  auth0: "urn:acme.eu.auth0.com",
} as const satisfies Record<StandInId, string>;

const DOMAINS = { okta: "acme.example", entra: "emea.acme.example", auth0: "labs.acme.example" } as const;
const IDS = ["okta", "entra", "auth0"] as const;

/** The same directories by SAML, as `okta-saml` and so on, beside the OpenID Connect of a target; the test holds their keys. */
export interface SamlIdps {
  readonly keys: Readonly<Record<StandInId, SamlIdpKey>>;
  /** For {@link startTarget}; each rule that listens to `okta` listens to `okta-saml` too. */
  readonly options: Required<Pick<TargetOptions, "config" | "files">>;
  browser(target: Target, jar?: CookieJar): SamlBrowser;
}

/** `more`: fields of rolecall.yaml, over the demo's; `provider`: over those of every SAML provider. */
export async function samlIdps(more: object = {}, provider: object = {}): Promise<SamlIdps> {
  const [okta, entra, auth0] = await Promise.all([newSamlIdpKey(), newSamlIdpKey(), newSamlIdpKey()]);
  const keys = { okta, entra, auth0 };
  const providers = IDS.map((id) => ({
    id: `${id}-saml`,
    kind: id,
    protocol: "saml",
    directory: id,
    issuer: ENTITIES[id],
    entryPoint: "http://localhost:9/sso",
    certificates: [{ file: `${id}.pem` }],
    emailDomains: [DOMAINS[id]],
    ...(id === "okta" && { subjectClaim: "userId" }),
    ...provider,
  }));
  return {
    keys,
    options: {
      config: (demo) => ({ tags: listening(demo.tags), providers: [...demo.providers, ...providers], ...more }),
      files: Object.fromEntries(IDS.map((id) => [`${id}.pem`, keys[id].certificate])),
    },
    // Every answer that a test forges names its key.
    browser: (target, jar) => new SamlBrowser(target.url, target.config.baseUrl, okta, Date.now, jar),
  };
}

function listening(tags: object): object {
  return JSON.parse(JSON.stringify(tags), (key, value: unknown) =>
    key === "providers" ? (value as string[]).flatMap((id) => [id, `${id}-saml`]) : value,
  ) as object;
}

const WS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims";
const MICROSOFT = "http://schemas.microsoft.com";

const NAMES: Readonly<Record<StandInId, Readonly<Record<string, string>>>> = {
  okta: { sub: "userId" },
  entra: {
    tid: `${MICROSOFT}/identity/claims/tenantid`,
    oid: `${MICROSOFT}/identity/claims/objectidentifier`,
    email: `${WS}/emailaddress`,
    preferred_username: `${WS}/name`,
    groups: `${MICROSOFT}/ws/2008/06/identity/claims/groups`,
  },
  auth0: {
    sub: `${WS}/nameidentifier`,
    email: `${WS}/emailaddress`,
    email_verified: "http://schemas.auth0.com/email_verified",
  },
};

/** What the provider of that directory says by SAML of somebody with these claims; objects have no form there. */
export function saysBySaml(id: StandInId, claims: Claims): Partial<ResponseFacts> {
  const attributes = Object.entries(claims).flatMap(([name, value]) =>
    value === undefined || value === null || (typeof value === "object" && !Array.isArray(value))
      ? []
      : [[NAMES[id][name] ?? name, Array.isArray(value) ? value.map(String) : String(value)] as const],
  );
  return { issuer: ENTITIES[id], attributes: Object.fromEntries(attributes) };
}

/** A sign-in that has begun, and the honest answer to it, which nobody has posted yet. */
export interface SamlAnswer {
  readonly browser: SamlBrowser;
  readonly begun: BegunSignIn;
  readonly xml: string;
}

/** One sign-in at `okta-saml` and so on, where the provider says `claims`, up to its answer. */
export async function samlAnswer(
  target: Target,
  idps: SamlIdps,
  id: StandInId,
  claims: Claims,
  { jar, next, over = {} }: { jar?: CookieJar; next?: string; over?: Partial<ResponseFacts> } = {},
): Promise<SamlAnswer> {
  const browser = idps.browser(target, jar);
  const begun = await browser.begin(`${id}-saml`, next);
  const facts = browser.facts(begun, { ...saysBySaml(id, claims), ...over });
  return { browser, begun, xml: signedResponse(facts, idps.keys[id]) };
}

/** The same to its end: the ACS's answer. */
export async function signInBySaml(
  ...args: Parameters<typeof samlAnswer>
): Promise<{ readonly jar: CookieJar; readonly answer: Response }> {
  const { browser, begun, xml } = await samlAnswer(...args);
  return { jar: browser.jar, answer: await browser.post(begun, xml) };
}
