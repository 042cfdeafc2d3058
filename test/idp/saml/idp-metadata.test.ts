import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import { idpMetadataXml } from "../../../src/sandbox/saml/idp-metadata.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import { signedResponse, signXml } from "../../../src/sandbox/saml/sign.ts";
import { ISSUER, reasonOf, startSamlCompany, type SamlCompany } from "../../support/saml-company.ts";

/** What is served; undefined: the server is down. */
let served: string | undefined;
let metadataSigner: SamlIdpKey;
let remote: SamlCompany;
let remoteNow = Date.now();
const server = createServer((_req, res) => {
  res.statusCode = served === undefined ? 503 : 200;
  res.end(served);
});
const entryPoint = "http://localhost:9/published";
const published = (over: Partial<Parameters<typeof idpMetadataXml>[0]> = {}): string =>
  idpMetadataXml({ entityId: ISSUER, entryPoint, certificates: [remote.key.certificate], ...over });
const signedMetadata = (xml: string): string => signXml(xml, "root", metadataSigner);
const tryBegin = async (): Promise<string | undefined> => {
  const answer = await remote.browser().jar.get("/login/saml");
  return answer.status === 302 ? undefined : reasonOf(answer);
};

beforeAll(async () => {
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  metadataSigner = await newSamlIdpKey();
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/metadata`;
  remote = await startSamlCompany({
    now: () => remoteNow,
    files: { "signer.pem": metadataSigner.certificate },
    provider: {
      entryPoint: undefined,
      certificates: undefined,
      metadata: { url, signedBy: [{ file: "signer.pem" }] },
    },
  });
});
afterAll(async () => {
  await remote.close();
  server.close();
});

test.each([
  ["away", (): undefined => undefined, "idp_unreachable"],
  ["HTML", (): string => "<!doctype html><html><body>Sign in</body></html>", "idp_metadata_invalid"],
  ["unsigned", (): string => published(), "idp_metadata_invalid"],
  ["signed by another", (): string => signXml(published(), "root", remote.key), "idp_metadata_invalid"],
  ["of another entity", (): string => signedMetadata(published({ entityId: "urn:other" })), "idp_metadata_invalid"],
  [
    "expired",
    (): string => signedMetadata(published({ validUntil: new Date(Date.now() - 3_600_000) })),
    "idp_metadata_invalid",
  ],
  [
    "of two entities",
    (): string => {
      const one = published().replace(/^<\?[^>]*>/, "");
      const both: string = `<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata" ID="_all">${one}${one.replace("_metadata", "_b")}</EntitiesDescriptor>`;
      return signedMetadata(both);
    },
    "idp_metadata_invalid",
  ],
] as const)("%s: refused", async (_name, serve, reason) => {
  served = serve();
  expect(await tryBegin()).toBe(reason);
});

test("with a weak certificate, or one that has expired: refused", async () => {
  const weak = await newSamlIdpKey({ bits: 1024 });
  served = signedMetadata(published({ certificates: [remote.key.certificate, weak.certificate] }));
  expect(await tryBegin()).toBe("idp_metadata_invalid");
  const expired = await newSamlIdpKey({ notAfter: new Date(Date.now() - 3_600_000) });
  served = signedMetadata(published({ certificates: [expired.certificate] }));
  expect(await tryBegin()).toBe("idp_metadata_invalid");
  remoteNow += 3_700_000;
});

test("signed: people sign in by it; and it is read again, the last good one kept", async () => {
  served = signedMetadata(published());
  const browser = remote.browser();
  const begun = await browser.begin();
  expect(begun.location).toMatch(entryPoint);
  expect((await browser.post(begun, signedResponse(browser.facts(begun), remote.key))).status).toBe(303);

  served = "<html/>";
  remoteNow += 3_700_000;
  expect(await tryBegin()).toBeUndefined();
  served = undefined;
  remoteNow += 20 * 3_600_000;
  expect(await tryBegin()).toBeUndefined();
  remoteNow += 5 * 3_600_000;
  expect(await tryBegin()).toBe("idp_unreachable");

  const rotated = await newSamlIdpKey();
  served = signedMetadata(published({ certificates: [rotated.certificate] }));
  const again = await browser.begin();
  expect(await reasonOf(await browser.post(again, signedResponse(browser.facts(again), remote.key)))).toBe(
    "saml_signature_invalid",
  );
  expect((await browser.post(again, signedResponse(browser.facts(again), rotated))).status).toBe(303);
});
