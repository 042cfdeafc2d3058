import { refuse } from "../claim-rules.ts";
import { childrenOf, DS, everyElement, SAML, SAMLP, XENC, type XmlElement } from "./xml.ts";

/** How often a child may stand in its element. */
type Times = "1" | "?" | "*" | "+";

interface Shape {
  readonly namespace: string;
  /** The children that may stand there, and no others; "any": whatever holds no element that is named in this table. */
  readonly children: Readonly<Record<string, Times>> | "any";
  /** Attributes that must be there. */
  readonly needs?: readonly string[];
}

const leaf = {} as const;

/**
 * SAML 2.0 as sign-ins use it (Core 2 and 3; Profiles 4.1.4), a good deal narrower than its schema: nothing in a message
 * may stand where nobody would look for it. This is what wrapping attacks (XSW) need.
 */
const SHAPES: Readonly<Record<string, Shape>> = {
  Response: {
    namespace: SAMLP,
    children: { Issuer: "1", Signature: "?", Status: "1", Assertion: "?", EncryptedAssertion: "?" },
  },
  LogoutRequest: { namespace: SAMLP, children: { Issuer: "1", Signature: "?", NameID: "1", SessionIndex: "*" } },
  SessionIndex: { namespace: SAMLP, children: leaf },
  Status: { namespace: SAMLP, children: { StatusCode: "1", StatusMessage: "?", StatusDetail: "?" } },
  StatusCode: { namespace: SAMLP, children: { StatusCode: "?" } },
  StatusMessage: { namespace: SAMLP, children: leaf },
  StatusDetail: { namespace: SAMLP, children: "any" },
  Assertion: {
    namespace: SAML,
    children: {
      Issuer: "1",
      Signature: "?",
      Subject: "1",
      Conditions: "1",
      AuthnStatement: "1",
      AttributeStatement: "*",
    },
  },
  EncryptedAssertion: { namespace: SAML, children: { EncryptedData: "1", EncryptedKey: "?" } },
  Issuer: { namespace: SAML, children: leaf },
  Subject: { namespace: SAML, children: { NameID: "1", SubjectConfirmation: "1" } },
  NameID: { namespace: SAML, children: leaf },
  SubjectConfirmation: { namespace: SAML, children: { SubjectConfirmationData: "1" } },
  // An assertion that never ends is none (Profiles 4.1.4.2).
  SubjectConfirmationData: { namespace: SAML, children: leaf, needs: ["NotOnOrAfter"] },
  Conditions: {
    namespace: SAML,
    children: { AudienceRestriction: "+", OneTimeUse: "?", ProxyRestriction: "?" },
    needs: ["NotOnOrAfter"],
  },
  AudienceRestriction: { namespace: SAML, children: { Audience: "+" } },
  Audience: { namespace: SAML, children: leaf },
  OneTimeUse: { namespace: SAML, children: leaf },
  ProxyRestriction: { namespace: SAML, children: { Audience: "*" } },
  AuthnStatement: { namespace: SAML, children: { SubjectLocality: "?", AuthnContext: "1" } },
  SubjectLocality: { namespace: SAML, children: leaf },
  AuthnContext: {
    namespace: SAML,
    children: { AuthnContextClassRef: "?", AuthnContextDeclRef: "?", AuthenticatingAuthority: "*" },
  },
  AuthnContextClassRef: { namespace: SAML, children: leaf },
  AuthnContextDeclRef: { namespace: SAML, children: leaf },
  AuthenticatingAuthority: { namespace: SAML, children: leaf },
  AttributeStatement: { namespace: SAML, children: { Attribute: "*" } },
  Attribute: { namespace: SAML, children: { AttributeValue: "*" } },
  AttributeValue: { namespace: SAML, children: "any" },
  Signature: { namespace: DS, children: { SignedInfo: "1", SignatureValue: "1", KeyInfo: "?" } },
  SignedInfo: { namespace: DS, children: { CanonicalizationMethod: "1", SignatureMethod: "1", Reference: "1" } },
  CanonicalizationMethod: { namespace: DS, children: leaf },
  SignatureMethod: { namespace: DS, children: leaf },
  Reference: { namespace: DS, children: { Transforms: "1", DigestMethod: "1", DigestValue: "1" } },
  Transforms: { namespace: DS, children: { Transform: "+" } },
  Transform: { namespace: DS, children: { InclusiveNamespaces: "?" } },
  InclusiveNamespaces: { namespace: "http://www.w3.org/2001/10/xml-exc-c14n#", children: leaf },
  DigestMethod: { namespace: DS, children: leaf },
  DigestValue: { namespace: DS, children: leaf },
  SignatureValue: { namespace: DS, children: leaf },
  KeyInfo: { namespace: DS, children: "any" },
  EncryptedData: { namespace: XENC, children: { EncryptionMethod: "1", KeyInfo: "?", CipherData: "1" } },
  EncryptedKey: { namespace: XENC, children: { EncryptionMethod: "1", KeyInfo: "?", CipherData: "1" } },
  EncryptionMethod: { namespace: XENC, children: { DigestMethod: "?", MGF: "?", OAEPparams: "?" } },
  CipherData: { namespace: XENC, children: { CipherValue: "1" } },
  CipherValue: { namespace: XENC, children: leaf },
  MGF: { namespace: "http://www.w3.org/2009/xmlenc11#", children: leaf },
  OAEPparams: { namespace: XENC, children: leaf },
};

/** What may stand below an "any" though the table names it: a persistent ID as an attribute, an encrypted key in KeyInfo. */
const HARMLESS = new Set([
  "NameID",
  "EncryptedKey",
  "EncryptionMethod",
  "DigestMethod",
  "MGF",
  "CipherData",
  "CipherValue",
  "KeyInfo",
  "OAEPparams",
]);

/**
 * Returns where the message is built as {@link SHAPES} has it, from a root named `root` down, its IDs names of ASCII, each
 * given once.
 * Throws `saml_malformed`: it is well-formed XML by now, and not what an identity provider sends.
 */
export function requireShape(message: XmlElement, root: "Response" | "Assertion" | "LogoutRequest"): void {
  if (message.name !== root) malformed(`the message is not a ${root}`);
  requireElement(message);
  const ids = new Set<string>();
  for (const { attributes } of everyElement(message)) {
    for (const name of ["ID", "Id", "id"]) {
      const id = attributes.get(name);
      if (id === undefined) continue;
      // The signature libraries look for it by XPath.
      if (!/^[\w.-]{1,256}$/.test(id)) malformed("an ID is no name");
      if (ids.has(id)) malformed("an ID is given twice");
      ids.add(id);
    }
  }
}

function requireElement(element: XmlElement): void {
  const shape = Object.hasOwn(SHAPES, element.name) ? SHAPES[element.name] : undefined;
  if (!shape) return malformed("the message has an element that does not belong there");
  if (element.namespace !== shape.namespace) malformed(`${element.name} is of another namespace`);
  const missing = shape.needs?.find((name) => !element.attributes.has(name));
  if (missing !== undefined) malformed(`${element.name} has no ${missing}`);
  if (shape.children === "any") {
    requireHarmless(element);
    return;
  }
  for (const child of element.children) {
    if (!Object.hasOwn(shape.children, child.name)) malformed(`${element.name} has a child that does not belong there`);
    requireElement(child);
  }
  for (const [name, times] of Object.entries(shape.children)) {
    const count = element.children.filter((child) => child.name === name).length;
    if ((times === "1" || times === "+") && count === 0) malformed(`${element.name} has no ${name}`);
    if ((times === "1" || times === "?") && count > 1) malformed(`${element.name} has more than one ${name}`);
  }
  if (element.children.length > 0 && /[^ \t\r\n]/.test(element.text))
    malformed(`${element.name} has text between its children`);
}

function requireHarmless(element: XmlElement): void {
  for (const below of everyElement(element)) {
    if (below !== element && Object.hasOwn(SHAPES, below.name) && !HARMLESS.has(below.name)) {
      malformed(`${element.name} has a ${below.name} in it`);
    }
  }
}

const EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#";
const ENVELOPED = "http://www.w3.org/2000/09/xmldsig#enveloped-signature";
const SIGNATURES = new Set([
  "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256",
  "http://www.w3.org/2001/04/xmldsig-more#rsa-sha512",
  "http://www.w3.org/2007/05/xmldsig-more#sha256-rsa-MGF1",
]);
const DIGESTS = new Set(["http://www.w3.org/2001/04/xmlenc#sha256", "http://www.w3.org/2001/04/xmlenc#sha512"]);

/**
 * Returns where the one signature of `signed` covers `signed` itself, whole, by algorithms that are strong: no SHA-1,
 * no HMAC (whose key would be the public one), exclusive canonicalization without comments. Throws
 * `saml_signature_invalid`. Whether it holds is not looked at here.
 */
export function requireStrongSignature(signed: XmlElement): void {
  const [signature, ...more] = childrenOf(signed, DS, "Signature");
  if (!signature || more.length > 0) return weak(`${signed.name} is not signed, or twice`);
  const info = one(signature, "SignedInfo");
  const reference = one(info, "Reference");
  const id = signed.attributes.get("ID");
  if (id === undefined || id === "" || reference.attributes.get("URI") !== `#${id}`)
    weak("a signature is over something else");
  const transforms = childrenOf(one(reference, "Transforms"), DS, "Transform").map(algorithmOf);
  if (transforms.join(" ") !== `${ENVELOPED} ${EXCLUSIVE}`)
    weak("a signature has other transforms than the two of SAML");
  if (algorithmOf(one(info, "CanonicalizationMethod")) !== EXCLUSIVE) weak("a signature has another canonicalization");
  if (!SIGNATURES.has(algorithmOf(one(info, "SignatureMethod"))))
    weak("a signature's algorithm is not one that is taken");
  if (!DIGESTS.has(algorithmOf(one(reference, "DigestMethod")))) weak("a digest's algorithm is not one that is taken");
}

function one(element: XmlElement, name: string): XmlElement {
  const [child, ...more] = childrenOf(element, DS, name);
  return child && more.length === 0 ? child : weak(`a signature has no ${name}, or more than one`);
}

export function algorithmOf(element: XmlElement | undefined): string {
  return element?.attributes.get("Algorithm") ?? "";
}

function malformed(what: string): never {
  return refuse("saml_malformed", what);
}

function weak(what: string): never {
  return refuse("saml_signature_invalid", what);
}
