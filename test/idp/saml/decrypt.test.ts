import { beforeAll, expect, test } from "vitest";
import { decryptedAssertion } from "../../../src/idp/saml/decrypt.ts";
import { readXml } from "../../../src/idp/saml/xml.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import { encryptAssertion } from "../../../src/sandbox/saml/sign.ts";

/** Where the key of an encrypted assertion lies, as far as a stranger may say it: nothing of it is signed. */

const ASSERTION = '<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">x</saml:Assertion>';
const DS = "http://www.w3.org/2000/09/xmldsig#";

let key: SamlIdpKey;
let encrypted: string;
beforeAll(async () => {
  key = await newSamlIdpKey();
  encrypted = await encryptAssertion(`<r>${ASSERTION}</r>`, key.certificate);
});

/** With the key beside the data, which refers to it. */
function beside(uri: string): string {
  const encryptedKey = /<e:EncryptedKey[^]*<\/e:EncryptedKey>/.exec(encrypted)?.[0] ?? "";
  // Without the certificate, whose KeyInfo would be taken for the data's.
  const plain = encryptedKey.replace(/<KeyInfo>[^]*<\/KeyInfo>/, "").replace(/<DigestMethod[^>]*>/, "");
  return encrypted
    .replace(encryptedKey, `<RetrievalMethod xmlns="${DS}" URI="${uri}"/>`)
    .replace("</saml:EncryptedAssertion>", `${plain.replace(" ", ' Id="key-1" ')}</saml:EncryptedAssertion>`);
}

async function decrypt(xml: string): Promise<string> {
  return await decryptedAssertion(readXml(Buffer.from(xml)), key.privateKey, false);
}

test("the key within the data, and beside it", async () => {
  expect(await decrypt(encrypted)).toBe(ASSERTION);
  expect(await decrypt(beside("#key-1"))).toBe(ASSERTION);
});

test.each([
  "#x' or count(//*[count(//*[count(//*)>1])>1])>1 or 'a'='",
  "#x' or '1'='1",
  "",
  "http://evil.example/key",
  "key-1",
])("a reference that is none: %s", async (uri) => {
  await expect(decrypt(beside(uri))).rejects.toMatchObject({
    code: "saml_malformed",
    message: "a RetrievalMethod is no reference to an ID",
  });
});
