import { randomBytes } from "node:crypto";
import express, { type Express, type RequestHandler, type Response } from "express";
import { sendSignInPage } from "../idp-page.ts";
import type { Staff } from "../idp-staff.ts";
import { ENTRA_TENANT, type Directory, type Person } from "../people.ts";
import { samlPerson } from "./attributes.ts";
import { AuthnRequestFault, readPostedRequest, readRedirectRequest, type AuthnRequest } from "./authn-request.ts";
import { idpMetadataXml } from "./idp-metadata.ts";
import type { SamlIdpKey } from "./key.ts";
import { POST_PAGE_POLICY, postPage } from "./post-page.ts";
import { deniedXml, responseXml } from "./response.ts";
import { readServiceProvider, type ServiceProvider } from "./service-provider.ts";
import { encryptAssertion, signXml } from "./sign.ts";

export type StandInSamlId = `${Directory["kind"]}-saml`;

/** The SAML side of a stand-in, for the same people, and what the broker's configuration must say of it. */
export interface StandInSaml {
  readonly id: StandInSamlId;
  readonly kind: Directory["kind"];
  readonly label: string;
  /** The id of its OIDC twin. */
  readonly directory: Directory["kind"];
  readonly entityId: string;
  readonly entryPoint: string;
  /** Unsigned. */
  readonly metadataUrl: string;
  /** PEM: what it signs with. */
  readonly certificate: string;
  readonly requestBinding: "HTTP-Redirect" | "HTTP-POST";
  readonly signsResponse: boolean;
  readonly subjectClaim: string | undefined;
  readonly emailDomain: string;
  readonly people: readonly Person[];
}

/**
 * Each as the real one is, or is commonly set: Okta signs both; Entra ID does where it is told to, and encrypts where it
 * has a certificate for it (with AES-CBC); Auth0 leaves the Response unsigned by default. `requestBinding` is what the
 * demo asks for: all of them take both.
 */
const SHAPES = {
  okta: {
    entityId: "http://www.okta.com/exk1a2b3c4d5e6f7g8h9",
    path: "/app/acme_rolecall_1/exk1a2b3c4d5e6f7g8h9/sso/saml",
    metadata: "/app/exk1a2b3c4d5e6f7g8h9/sso/saml/metadata",
    requestBinding: "HTTP-Redirect",
    signsResponse: true,
    encrypts: false,
    subjectClaim: "sub",
  },
  entra: {
    entityId: `https://sts.windows.net/${ENTRA_TENANT}/`,
    path: `/${ENTRA_TENANT}/saml2`,
    metadata: `/${ENTRA_TENANT}/federationmetadata/2007-06/federationmetadata.xml`,
    requestBinding: "HTTP-Redirect",
    signsResponse: true,
    encrypts: true,
    subjectClaim: undefined,
  },
  auth0: {
    entityId: "urn:acme-labs.eu.auth0.com",
    path: "/samlp/Xq3vT8mK2pLw9ZrY5nBc7dFg1hJs4uVa",
    metadata: "/samlp/metadata/Xq3vT8mK2pLw9ZrY5nBc7dFg1hJs4uVa",
    requestBinding: "HTTP-POST",
    signsResponse: false,
    encrypts: false,
    subjectClaim: undefined,
  },
} as const satisfies Record<
  Directory["kind"],
  Pick<StandInSaml, "entityId" | "requestBinding" | "signsResponse" | "subjectClaim"> & {
    path: string;
    metadata: string;
    encrypts: boolean;
  }
>;

export interface StandInSamlParts {
  readonly directory: Directory;
  readonly staff: Staff;
  /** Scheme, host and port. */
  readonly origin: string;
  readonly key: SamlIdpKey;
  /** Where the broker's metadata is, which is read for each request. */
  readonly serviceProviderUrl: string;
}

/** A request that was checked, until the person has chosen who they are. */
type Pending = AuthnRequest & { readonly serviceProvider: ServiceProvider };

/**
 * Adds the SAML side to a stand-in's server. It refuses what the real ones refuse: a request that is unsigned, not by
 * SHA-256, for another address, of a service provider or an ACS that is not registered, or that came before. The answer
 * goes to the ACS by a form that the browser posts.
 */
export function mountSaml(app: Express, parts: StandInSamlParts): StandInSaml {
  const { directory, staff, origin, key, serviceProviderUrl } = parts;
  const { kind, label, emailDomain, people } = directory;
  const { path, metadata, entityId, requestBinding, signsResponse, subjectClaim } = SHAPES[kind];
  const entryPoint = `${origin}${path}`;
  const pending = new Map<string, Pending>();
  const usedIds = new Set<string>();
  const form = express.urlencoded({ extended: false });

  const begin: RequestHandler = async (req, res) => {
    const serviceProvider = await readServiceProvider(serviceProviderUrl);
    const rules = { serviceProvider, destination: entryPoint, now: Date.now() };
    const request =
      req.method === "GET"
        ? readRedirectRequest(req.originalUrl.split("?", 2)[1] ?? "", rules)
        : readPostedRequest(req.body as Record<string, unknown>, rules);
    if (usedIds.has(request.id)) throw new AuthnRequestFault("the request's ID was used before");
    usedIds.add(request.id);
    const handle = randomBytes(16).toString("hex");
    pending.set(handle, { ...request, serviceProvider });
    // So that a page that is loaded again is no second request.
    res.redirect(303, `${path}/sign-in/${handle}`);
  };
  const pendingOf = (handle: unknown): Pending => {
    const found = pending.get(String(handle));
    if (!found) throw new AuthnRequestFault("this sign-in has ended: start again where you came from");
    return found;
  };

  app.get(metadata, (_req, res) => {
    const certificates = [key.certificate];
    res.type("application/samlmetadata+xml").send(idpMetadataXml({ entityId, entryPoint, certificates }));
  });
  app.get(path, orRefusal(begin));
  app.post(path, form, orRefusal(begin));
  app.get(
    `${path}/sign-in/:handle`,
    orRefusal((req, res) => {
      pendingOf(req.params["handle"]);
      sendSignInPage(res, directory);
    }),
  );
  app.post(
    `${path}/sign-in/:handle`,
    form,
    orRefusal(async (req, res) => {
      const request = pendingOf(req.params["handle"]);
      pending.delete(String(req.params["handle"]));
      const { person } = req.body as { person?: string };
      const xml = await answerXml(kind, key, request, staff.active(person));
      sendAnswer(res, request, xml);
    }),
  );
  return {
    id: `${kind}-saml`,
    kind,
    label: `${label} (SAML)`,
    directory: kind,
    entityId,
    entryPoint,
    metadataUrl: `${origin}${metadata}`,
    certificate: key.certificate,
    requestBinding,
    signsResponse,
    subjectClaim,
    emailDomain,
    people,
  };
}

/** The Response about `person`; undefined: nobody was let in. */
async function answerXml(
  kind: Directory["kind"],
  key: SamlIdpKey,
  { id, serviceProvider }: Pending,
  person: Person | undefined,
): Promise<string> {
  const { entityId, signsResponse, encrypts } = SHAPES[kind];
  const { acs, entityId: audience, encryption } = serviceProvider;
  const about = { issuer: entityId, acs, audience, inResponseTo: id, now: Date.now() };
  let xml: string;
  if (person === undefined) xml = deniedXml(about);
  else {
    const sessionIndex = `_${randomBytes(16).toString("hex")}`;
    xml = signXml(responseXml({ ...about, ...samlPerson(kind, person), sessionIndex }), "Assertion", key);
    if (encrypts && encryption !== undefined)
      xml = await encryptAssertion(xml, encryption, "http://www.w3.org/2001/04/xmlenc#aes256-cbc");
  }
  return signsResponse ? signXml(xml, "root", key) : xml;
}

function sendAnswer(res: Response, { relayState, serviceProvider }: Pending, xml: string): void {
  res.set({ "content-security-policy": POST_PAGE_POLICY, "cache-control": "no-store" });
  res.send(
    postPage(serviceProvider.acs, {
      SAMLResponse: Buffer.from(xml).toString("base64"),
      ...(relayState !== undefined && { RelayState: relayState }),
    }),
  );
}

/** A fault of the request is told to the person who came with it. */
function orRefusal(handle: (...args: Parameters<RequestHandler>) => unknown): RequestHandler {
  return async (req, res, next) => {
    try {
      await handle(req, res, next);
    } catch (error) {
      if (!(error instanceof AuthnRequestFault)) throw error;
      res.status(400).type("text").send(`this stand-in refuses: ${error.message}`);
    }
  };
}
