import { promisify } from "node:util";
import { decrypt } from "xml-encryption";
import { refuse } from "../claim-rules.ts";
import { algorithmOf } from "./shape.ts";
import { childOf, childrenOf, DS, elementsOf, everyElement, parseXml, SAML, XENC, type XmlElement } from "./xml.ts";

/** Authenticated: a changed ciphertext is noticed. */
const GCM = ["http://www.w3.org/2009/xmlenc11#aes256-gcm", "http://www.w3.org/2009/xmlenc11#aes128-gcm"];
const CBC = ["http://www.w3.org/2001/04/xmlenc#aes256-cbc", "http://www.w3.org/2001/04/xmlenc#aes128-cbc"];
/** Never RSA with PKCS #1 v1.5 padding: whoever may ask us to decrypt could find the key out (Bleichenbacher). */
const RSA_OAEP = "http://www.w3.org/2001/04/xmlenc#rsa-oaep-mgf1p";

/**
 * The assertion's XML within the response's one EncryptedAssertion, not scanned yet. `ciphertextSigned`: a signature over
 * the response has been verified. Only then CBC is taken, since by our answers to changed ciphertexts anybody could
 * read it (Jager and Somorovsky, "How to break XML encryption"). Rejects with `saml_malformed`, whatever is wrong with it.
 */
export function decryptedAssertion(
  response: { readonly text: string; readonly root: XmlElement },
  key: string,
  ciphertextSigned: boolean,
): Promise<string> {
  requireStrongEncryption(response.root, ciphertextSigned ? [...GCM, ...CBC] : GCM);
  requirePlainReferences(response.root);
  const [encrypted] = elementsOf(parseXml(response.text), SAML, "EncryptedAssertion");
  const options = { key, disallowDecryptionWithInsecureAlgorithm: true, warnInsecureAlgorithm: false };
  // It may throw right away, too.
  const decryption = Promise.resolve().then(() => promisify(decrypt)(String(encrypted), options));
  return decryption.catch(() => refuse("saml_malformed", "the encrypted assertion can't be decrypted"));
}

function requireStrongEncryption(response: XmlElement, taken: readonly string[]): void {
  const encrypted = childOf(response, SAML, "EncryptedAssertion");
  const data = childOf(encrypted, XENC, "EncryptedData");
  const keys = [encrypted, childOf(data, DS, "KeyInfo")].flatMap((holder) => childrenOf(holder, XENC, "EncryptedKey"));
  const methods = keys.map((key) => algorithmOf(childOf(key, XENC, "EncryptionMethod")));
  if (!taken.includes(algorithmOf(childOf(data, XENC, "EncryptionMethod")))) {
    refuse("saml_malformed", "the assertion's encryption algorithm is not one that is taken");
  }
  if (methods.length !== 1 || methods[0] !== RSA_OAEP) {
    refuse("saml_malformed", "the assertion's key is not encrypted once, by rsa-oaep-mgf1p");
  }
}

/**
 * The key may lie beside the data, which then says where (XML Encryption 3.5.2). xml-encryption puts that into an XPath
 * expression as it stands: one that counts what it counts would keep the process busy for hours.
 */
function requirePlainReferences(response: XmlElement): void {
  for (const { name, attributes } of everyElement(response)) {
    if (name === "RetrievalMethod" && !/^#[\w.-]{1,256}$/.test(attributes.get("URI") ?? ""))
      refuse("saml_malformed", "a RetrievalMethod is no reference to an ID");
  }
}
