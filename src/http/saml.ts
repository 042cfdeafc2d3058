import express, { type Request, type RequestHandler } from "express";
import type { Config } from "../config/config.ts";
import { Refusal } from "../flow/errors.ts";
import type { LedgerPort } from "../flow/ports.ts";
import { callerFacts, personFacts } from "../flow/sign-in.ts";
import type { Identity } from "../flow/identity.ts";
import { callerOf } from "./guard.ts";
import { providerOf } from "./sign-in.ts";

/** What one SAML provider's other addresses need. */
export interface SamlProviderPorts {
  /** The broker's metadata for it, XML. */
  readonly metadata: () => string;
  /**
   * Ends the sign-ins that a signed LogoutRequest (base64) names. Resolves with whose they were; undefined: nobody's
   * that is known. Rejects with a Refusal, and nothing has ended.
   */
  readonly logout: (
    samlRequest: string,
  ) => Promise<Pick<Identity, "provider" | "directory" | "subject" | "email"> | undefined>;
}

export interface SamlParts {
  readonly config: Config;
  readonly ledger: LedgerPort;
  /** By provider ID. */
  readonly saml: ReadonlyMap<string, SamlProviderPorts>;
}

/** Two signatures and an encrypted list of a thousand groups fit. More is refused by its length, before it is read. */
const FORM_LIMIT = "256kb";

const urlencoded = express.urlencoded({ extended: false, limit: FORM_LIMIT, parameterLimit: 10 });

const SAML_PARAMETERS = ["SAMLRequest", "SAMLResponse", "SAMLart", "SAMLEncoding", "SigAlg", "Signature", "RelayState"];

/** No binding that puts messages into addresses is taken: there signatures are apart from what they sign, and inflate to anything. */
export const refuseSamlInQuery: RequestHandler = (req, _res, next) => {
  const query = new URLSearchParams(req.originalUrl.split("?", 2)[1] ?? "");
  const name = SAML_PARAMETERS.find((candidate) => query.has(candidate));
  if (name !== undefined) throw new Refusal("saml_in_query", `the query has ${name}`);
  next();
};

/** The posted form of `POST /login/:provider/acs` and `/slo`, of which nothing has been looked at yet. */
export const readSamlForm: RequestHandler[] = [refuseSamlInQuery, urlencoded];

/** `/login/:provider/metadata`: what the provider's administrator, or the provider itself, reads about the broker. */
export function samlMetadata(parts: SamlParts): RequestHandler {
  return (req, res) => {
    const { metadata } = portsOf(parts, req);
    res.type("application/samlmetadata+xml").send(metadata());
  };
}

/** `POST /login/:provider/slo`: the provider ends somebody's sign-in, in every browser, by a signed LogoutRequest. */
export function samlLogout(parts: SamlParts): RequestHandler {
  return async (req, res) => {
    const { logout } = portsOf(parts, req);
    const { SAMLRequest: message } = (req.body ?? {}) as Readonly<Record<string, unknown>>;
    if (typeof message !== "string") throw new Refusal("saml_malformed", "the form has not one SAMLRequest");
    const person = await logout(message);
    const event = { type: "session.ended", ...callerFacts(callerOf(req, res)), outcome: "success" } as const;
    if (person !== undefined) await parts.ledger.append({ ...event, ...personFacts(person) });
    res.redirect(303, "/?signed-out");
  };
}

function portsOf({ config, saml }: SamlParts, req: Request): SamlProviderPorts {
  const ports = saml.get(providerOf(config, req, "saml").id);
  if (ports === undefined) throw new Refusal("not_found", "the provider has no such address");
  return ports;
}
