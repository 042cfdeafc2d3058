import { once } from "node:events";
import { sign } from "node:crypto";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { deflateRawSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { SamlProvider } from "../../../src/config/config.ts";
import { Refusal } from "../../../src/flow/errors.ts";
import type { Identity } from "../../../src/flow/identity.ts";
import { identityFromClaims } from "../../../src/idp/identity.ts";
import { samlClient, type SamlClient } from "../../../src/idp/saml/saml.ts";
import { Browser, type Page } from "../../../src/sandbox/browser.ts";
import { startIdentityProviders, type StandInId, type StandInProvider } from "../../../src/sandbox/idp.ts";
import { DIRECTORIES } from "../../../src/sandbox/people.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import { text } from "../../../src/sandbox/saml/response.ts";
import { signXml, type SignatureAlgorithms } from "../../../src/sandbox/saml/sign.ts";
import type { StandInSaml } from "../../../src/sandbox/saml/stand-in.ts";
import { providerConfig } from "../../support/provider-config.ts";

const IDS = ["okta", "entra", "auth0"] as const;
const PATHS = ["groups", "department", "costCenter", "https://acme.example/team"];
const SHA1: SignatureAlgorithms = {
  signature: "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
  digest: "http://www.w3.org/2000/09/xmldsig#sha1",
};
const RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";

/** The service provider: its metadata is what `/login/ID/metadata` of the broker says. */
let web: Server;
let base: string;
let keys: { signing: SamlIdpKey; encryption: SamlIdpKey };
let stranger: SamlIdpKey;
let providers: Record<StandInId, StandInProvider>;

beforeAll(async () => {
  const [signing, encryption, other] = await Promise.all([newSamlIdpKey(), newSamlIdpKey(), newSamlIdpKey()]);
  keys = { signing, encryption };
  stranger = other;
  web = createServer((req, res) => {
    const id = IDS.find((candidate) => req.url === `/login/${candidate}-saml/metadata`) ?? "okta";
    res.end(clientOf(id).metadata());
  });
  web.listen(0, "127.0.0.1");
  await once(web, "listening");
  base = `http://127.0.0.1:${(web.address() as AddressInfo).port}`;
  const options = (id: StandInId): { redirectUris: string[]; serviceProviderUrl: string } => ({
    redirectUris: [`${base}/callback`],
    serviceProviderUrl: `${base}/login/${id}-saml/metadata`,
  });
  providers = await startIdentityProviders({
    okta: options("okta"),
    entra: options("entra"),
    auth0: options("auth0"),
  });
});
afterAll(async () => {
  web.close();
  await Promise.all(IDS.map((id) => providers[id].close()));
});

function samlOf(id: StandInId): StandInSaml {
  const { saml } = providers[id];
  if (!saml) throw new Error("set up without SAML");
  return saml;
}

function configOf(id: StandInId, over: Partial<SamlProvider> = {}): SamlProvider {
  const saml = samlOf(id);
  return {
    id: saml.id,
    kind: saml.kind,
    protocol: "saml",
    directory: saml.directory,
    label: saml.label,
    issuer: saml.entityId,
    entryPoint: undefined,
    certificates: [saml.certificate],
    metadata: { url: saml.metadataUrl, signedBy: [] },
    spEntityId: `${base}/login/${saml.id}/metadata`,
    requestBinding: saml.requestBinding,
    wantResponseSigned: saml.signsResponse,
    forceAuthn: false,
    subjectClaim: saml.subjectClaim,
    organization: undefined,
    emailDomains: [saml.emailDomain],
    claimsMaxAgeSeconds: 3600,
    ...over,
  };
}

function clientOf(id: StandInId, over: Partial<SamlProvider> = {}): SamlClient {
  const address = `${base}/login/${id}-saml`;
  return samlClient(configOf(id, over), { address, keys, allowLoopbackHttp: true, now: Date.now });
}

/** What the stand-in's page posts to the broker. */
interface Answer {
  readonly action: string;
  readonly samlResponse: string;
  readonly relayState: string | undefined;
}

async function choose(browser: Browser, page: Page, person: string): Promise<Answer> {
  const { text: html } = await browser.submit(page, { name: "person", value: person });
  const field = (name: string): string | undefined => new RegExp(`name="${name}" value="([^"]*)"`).exec(html)?.[1];
  const action = /action="([^"]*)"/.exec(html)?.[1] ?? "";
  return { action, samlResponse: field("SAMLResponse") ?? "", relayState: field("RelayState") };
}

async function signIn(
  id: StandInId,
  person: string,
  over: Partial<SamlProvider> = {},
): Promise<{ identity: Identity; xml: string; answer: Answer }> {
  const client = clientOf(id, over);
  const { begun, pending } = await client.begin("relay-1");
  const browser = new Browser({ scripts: false });
  const page =
    "url" in begun
      ? await browser.open(begun.url)
      : await browser.open(begun.action, { method: "POST", body: new URLSearchParams(begun.fields) });
  const answer = await choose(browser, page, person);
  const { claims } = await client.finish(answer.samlResponse, pending);
  const identity = identityFromClaims(configOf(id), claims, PATHS, Date.now());
  return { identity, xml: Buffer.from(answer.samlResponse, "base64").toString(), answer };
}

const EVERYBODY = IDS.flatMap((id) => DIRECTORIES[id].people.map((person) => ({ id, ...person })));
/** Okta has no word for it in SAML: the email domains that are configured are the statement. */
const LET_IN_BY_SAML = ["Luis Vega"];

describe("the people", () => {
  test.each(EVERYBODY)("$id: $name is the same person as by OIDC, or refused alike", async (person) => {
    const { id, subject, name, refused, claims, email } = person;
    const early = refused !== undefined && refused !== "tag_missing" && !LET_IN_BY_SAML.includes(name);
    if (early) {
      await expect(signIn(id, subject)).rejects.toMatchObject({ code: refused });
      return;
    }
    const issuer = providers[id].issuer;
    const oidc = providerConfig(id, { issuer, emailDomains: [DIRECTORIES[id].emailDomain] });
    const verified = { ...claims, ...(LET_IN_BY_SAML.includes(name) && { email_verified: true }) };
    const twin = identityFromClaims(oidc, { sub: subject, ...verified }, PATHS, Date.now());
    const { identity } = await signIn(id, subject);
    // A list of one comes as plain text.
    const listed = ({ claims: all }: Identity): object =>
      Object.fromEntries(Object.entries(all).map(([key, value]) => [key, [value].flat()]));
    expect(listed(identity)).toEqual(listed(twin));
    expect(identity).toMatchObject({ directory: id, subject: twin.subject, email });
  });

  test.each(IDS)("of %s may cancel, and somebody who has left is not let in", async (id) => {
    await expect(signIn(id, "")).rejects.toMatchObject({ code: "idp_denied" });
    const { subject = "" } = DIRECTORIES[id].people[0] ?? {};
    providers[id].staff.disable(subject);
    await expect(signIn(id, subject)).rejects.toMatchObject({ code: "idp_denied" });
    providers[id].staff.enable(subject);
    await signIn(id, subject);
  });

  test.each(["HTTP-Redirect", "HTTP-POST"] as const)("of all three come in by %s", async (requestBinding) => {
    for (const id of IDS) {
      const { answer } = await signIn(id, DIRECTORIES[id].people[0]?.subject ?? "", { requestBinding });
      expect(answer).toMatchObject({ action: `${base}/login/${id}-saml/acs`, relayState: "relay-1" });
    }
  });
});

test.each([
  ["okta", { response: true, assertion: true, encrypted: false }],
  ["entra", { response: true, assertion: false, encrypted: true }],
  ["auth0", { response: false, assertion: true, encrypted: false }],
] as const)("%s signs and encrypts as the real one does", async (id, expected) => {
  const { xml } = await signIn(id, DIRECTORIES[id].people[0]?.subject ?? "");
  const [, before = "", inside = ""] = /^(.*?)<saml:(?:Encrypted)?Assertion(.*)$/s.exec(xml) ?? [];
  const seen = {
    response: before.includes("<ds:Signature"),
    assertion: inside.includes("<ds:Signature"),
    encrypted: xml.includes("EncryptedAssertion"),
  };
  expect(seen).toEqual(expected);
  expect(xml.includes(DIRECTORIES[id].emailDomain)).toBe(!expected.encrypted);
});

/** What an honest service provider would say; undefined takes it away. */
type Request = Partial<
  Record<"id" | "destination" | "issuer" | "acs" | "instant" | "version" | "name" | "protocolBinding", string>
>;

let serial = 0;

function requestXml(id: StandInId, over: Request = {}): string {
  const saml = samlOf(id);
  serial += 1;
  const said = {
    id: `_request-${serial}`,
    destination: saml.entryPoint,
    issuer: `${base}/login/${saml.id}/metadata`,
    acs: `${base}/login/${saml.id}/acs`,
    instant: new Date().toISOString(),
    version: "2.0",
    name: "AuthnRequest",
    protocolBinding: "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST",
    ...over,
  };
  return (
    `<samlp:${said.name} xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="${said.id}" Version="${said.version}"` +
    ` IssueInstant="${said.instant}" Destination="${text(said.destination)}" ProtocolBinding="${said.protocolBinding}"` +
    ` AssertionConsumerServiceURL="${text(said.acs)}"><saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">` +
    `${text(said.issuer)}</saml:Issuer></samlp:${said.name}>`
  );
}

interface Way {
  /** The query of a signed request. */
  redirect(xml: string, over?: { key?: SamlIdpKey; algorithm?: string }): string;
  post(xml: string, over?: { key?: SamlIdpKey; algorithms?: SignatureAlgorithms }): string;
}

const signed: Way = {
  redirect(xml, { key = keys.signing, algorithm = RSA_SHA256 } = {}) {
    const request = new URLSearchParams({
      SAMLRequest: deflateRawSync(xml).toString("base64"),
      RelayState: "relay-1",
      SigAlg: algorithm,
    }).toString();
    const hash = algorithm === SHA1.signature ? "sha1" : "sha256";
    const signature = sign(hash, Buffer.from(request), key.privateKey).toString("base64");
    return `${request}&Signature=${encodeURIComponent(signature)}`;
  },
  post: (xml, { key = keys.signing, algorithms } = {}) => signXml(xml, "root", key, algorithms),
};

async function redirected(query: string): Promise<Page> {
  return new Browser().open(`${samlOf("okta").entryPoint}?${query}`);
}

async function posted(xml: string): Promise<Page> {
  const fields = { SAMLRequest: Buffer.from(xml).toString("base64"), RelayState: "relay-1" };
  return new Browser().open(samlOf("okta").entryPoint, { method: "POST", body: new URLSearchParams(fields) });
}

describe("a stand-in refuses what the real ones refuse", () => {
  const content: [string, Request, RegExp][] = [
    ["another Destination", { destination: "http://localhost:9/sso" }, /Destination/],
    ["an Issuer that is not registered", { issuer: "http://evil.example/metadata" }, /Issuer is not registered/],
    ["an ACS that is not registered", { acs: "http://127.0.0.1:9/acs" }, /ACS URL is not registered/],
    ["a request of ten minutes ago", { instant: new Date(Date.now() - 600_000).toISOString() }, /IssueInstant/],
    ["a request of tomorrow", { instant: new Date(Date.now() + 86_400_000).toISOString() }, /IssueInstant/],
    ["no time", { instant: "" }, /IssueInstant/],
    ["another Version", { version: "1.1" }, /Version/],
    ["no ID", { id: "" }, /has no ID/],
    ["another message", { name: "LogoutRequest" }, /not an AuthnRequest/],
    ["an answer by another binding", { protocolBinding: "urn:oasis:names:tc:SAML:2.0:bindings:PAOS" }, /HTTP-POST/],
  ];

  test.each(content)("%s, by either binding", async (_name, over, message) => {
    expect((await redirected(signed.redirect(requestXml("okta")))).status).toBe(200);
    expect((await posted(signed.post(requestXml("okta")))).status).toBe(200);
    const answers = [
      await redirected(signed.redirect(requestXml("okta", over))),
      ...("id" in over ? [] : [await posted(signed.post(requestXml("okta", over)))]),
    ];
    for (const { status, text: said } of answers) expect([status, said]).toEqual([400, expect.stringMatching(message)]);
  });

  const queries: [string, () => string, RegExp][] = [
    ["no signature", () => signed.redirect(requestXml("okta")).replace(/&Signature=.*/, ""), /does not hold/],
    ["no SigAlg", () => signed.redirect(requestXml("okta")).replace(/&SigAlg=[^&]*/, ""), /not signed with RSA/],
    ["SHA-1", () => signed.redirect(requestXml("okta"), { algorithm: SHA1.signature }), /SHA-256/],
    ["another's key", () => signed.redirect(requestXml("okta"), { key: stranger }), /does not hold/],
    ["another RelayState", () => signed.redirect(requestXml("okta")).replace("relay-1", "relay-2"), /does not hold/],
    ["two SAMLRequests", () => `${signed.redirect(requestXml("okta"))}&SAMLRequest=x`, /given twice/],
    ["a megabyte inflated", () => signed.redirect(`<a>${" ".repeat(1024 * 1024)}</a>`), /inflated/],
  ];
  test.each(queries)("an address with %s", async (_name, query, message) => {
    expect(await redirected(signed.redirect(requestXml("okta")))).toMatchObject({ status: 200 });
    const { status, text: said } = await redirected(query());
    expect([status, said]).toEqual([400, expect.stringMatching(message)]);
  });

  const forms: [string, () => string][] = [
    ["no signature", () => requestXml("okta")],
    ["SHA-1", () => signed.post(requestXml("okta"), { algorithms: SHA1 })],
    ["another's key", () => signed.post(requestXml("okta"), { key: stranger })],
    ["an ACS changed after signing", () => signed.post(requestXml("okta")).replace("/acs", "/acx")],
  ];
  test.each(forms)("a form with %s", async (_name, forge) => {
    expect(await posted(signed.post(requestXml("okta")))).toMatchObject({ status: 200 });
    const { status, text: said } = await posted(forge());
    expect([status, said]).toEqual([400, expect.stringMatching(/does not hold/)]);
  });

  test("an ID that was used, and an answer given twice", async () => {
    const query = signed.redirect(requestXml("okta", { id: "_once" }));
    const browser = new Browser({ scripts: false });
    const page = await browser.open(`${samlOf("okta").entryPoint}?${query}`);
    expect((await browser.open(page.url.href)).status).toBe(200);
    for (const again of [await redirected(query), await posted(signed.post(requestXml("okta", { id: "_once" })))]) {
      expect([again.status, again.text]).toEqual([400, expect.stringMatching(/used before/)]);
    }
    const jane = DIRECTORIES.okta.people[0]?.subject ?? "";
    expect((await choose(browser, page, jane)).samlResponse).not.toBe("");
    expect((await choose(browser, page, jane)).samlResponse).toBe("");
  });
});

test("a stand-in that is down can't be asked", async () => {
  providers.okta.state.down = true;
  await expect(clientOf("okta").begin("relay-1")).rejects.toBeInstanceOf(Refusal);
  providers.okta.state.down = false;
});
