import { ExclusiveCanonicalization } from "xml-crypto";
import { afterEach, beforeAll, expect, test, vi } from "vitest";
import type { SamlProvider } from "../../../src/config/config.ts";
import { samlClient, type SamlClient } from "../../../src/idp/saml/saml.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import type { ResponseFacts } from "../../../src/sandbox/saml/response.ts";
import { signedResponse } from "../../../src/sandbox/saml/sign.ts";

/** Who has signed is asked before anything that takes long is done with what a stranger wrote. */

const ADDRESS = "https://rolecall.acme.example/login/okta";
const ISSUER = "http://www.okta.example/exk1";

let key: SamlIdpKey;
let stranger: SamlIdpKey;
beforeAll(async () => {
  [key, stranger] = await Promise.all([newSamlIdpKey(), newSamlIdpKey()]);
});
afterEach(() => {
  vi.restoreAllMocks();
});

const PROVIDER: Omit<SamlProvider, "certificates" | "wantResponseSigned"> = {
  id: "okta",
  kind: "okta",
  protocol: "saml",
  directory: "okta",
  label: "Okta",
  issuer: ISSUER,
  entryPoint: "https://acme.okta.example/sso",
  metadata: undefined,
  spEntityId: `${ADDRESS}/metadata`,
  requestBinding: "HTTP-Redirect",
  forceAuthn: false,
  subjectClaim: undefined,
  organization: undefined,
  emailDomains: ["acme.example"],
  claimsMaxAgeSeconds: 3600,
};

function clientOf(certificates: readonly string[], wantResponseSigned: boolean): SamlClient {
  const keys = { signing: key, encryption: key };
  const provider = { ...PROVIDER, certificates, wantResponseSigned };
  return samlClient(provider, { address: ADDRESS, keys, allowLoopbackHttp: false, now: Date.now });
}

const factsFor = (inResponseTo: string): ResponseFacts => ({
  issuer: ISSUER,
  acs: `${ADDRESS}/acs`,
  audience: `${ADDRESS}/metadata`,
  inResponseTo,
  nameId: "jane-1",
  nameIdFormat: "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent",
  attributes: { email: "jane@acme.example" },
  sessionIndex: "session-1",
  now: Date.now(),
});

/** Finishes a sign-in by what `by` has signed; the elements that were brought into canonical form meanwhile. */
async function finished(
  client: SamlClient,
  by: SamlIdpKey,
  response: boolean,
): Promise<[answer: unknown, Set<string>]> {
  const { pending } = await client.begin("state");
  const xml = signedResponse(factsFor(pending.requestId), by, { response });
  const canonical = vi.spyOn(ExclusiveCanonicalization.prototype, "process");
  const answer = await client.finish(Buffer.from(xml).toString("base64"), pending).catch((error: unknown) => error);
  return [answer, new Set(canonical.mock.calls.map(([node]) => (node as unknown as { localName: string }).localName))];
}

test.each([true, false])("a stranger's signature is looked at alone (response signed: %s)", async (response) => {
  const [answer, canonical] = await finished(clientOf([key.certificate], response), stranger, response);
  expect(answer).toMatchObject({ code: "saml_signature_invalid" });
  expect([...canonical]).toEqual(["SignedInfo"]);
});

test.each([true, false])(
  "of several certificates the one that signed is found (response signed: %s)",
  async (response) => {
    const certificates = [stranger.certificate, key.certificate];
    const [answer, canonical] = await finished(clientOf(certificates, response), key, response);
    expect(answer).toMatchObject({ subject: { nameId: "jane-1" }, claims: { email: "jane@acme.example" } });
    expect([...canonical]).toContain("Assertion");
  },
);
