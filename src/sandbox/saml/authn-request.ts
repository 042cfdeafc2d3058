import { verify, X509Certificate } from "node:crypto";
import { inflateRawSync } from "node:zlib";
import { verifiedRoot } from "../../idp/saml/verified-xml.ts";
import { childOf, readXml, SAML, SAMLP, type XmlElement } from "../../idp/saml/xml.ts";
import type { ServiceProvider } from "./service-provider.ts";

/** A request to sign somebody in, once it is known to be the registered service provider's. */
export interface AuthnRequest {
  readonly id: string;
  /** Sent back with the answer, as it came; undefined: there was none. */
  readonly relayState: string | undefined;
}

/** Why an identity provider shows an error page in place of its sign-in page. */
export class AuthnRequestFault extends Error {
  override readonly name = "AuthnRequestFault";
}

export interface RequestRules {
  readonly serviceProvider: ServiceProvider;
  /** The identity provider's own address for requests. */
  readonly destination: string;
  /** Epoch milliseconds. */
  readonly now: number;
}

const RSA_SHA256 = "http://www.w3.org/2001/04/xmldsig-more#rsa-sha256";
const HTTP_POST = "urn:oasis:names:tc:SAML:2.0:bindings:HTTP-POST";
const MAX_REQUEST = 64 * 1024;
/** Milliseconds. */
const MAX_AGE = 5 * 60_000;

/** The request in an address (HTTP-Redirect, Bindings 3.4.4): the signature is over the query's very octets. */
export function readRedirectRequest(query: string, rules: RequestRules): AuthnRequest {
  const raw = (name: string): string | undefined => {
    const [value, ...more] = query.split("&").filter((part) => part.startsWith(`${name}=`));
    if (more.length > 0) refuse(`${name} is given twice`);
    return value?.slice(name.length + 1);
  };
  const decoded = (name: string): string | undefined => {
    const value = raw(name);
    return value === undefined ? undefined : decodeURIComponent(value.replaceAll("+", " "));
  };
  if (decoded("SigAlg") !== RSA_SHA256) refuse("the request is not signed with RSA and SHA-256");
  const signed = ["SAMLRequest", "RelayState", "SigAlg"].filter((name) => raw(name) !== undefined);
  const octets = Buffer.from(signed.map((name) => `${name}=${raw(name) ?? ""}`).join("&"));
  const signature = Buffer.from(decoded("Signature") ?? "", "base64");
  const holds = rules.serviceProvider.signing.some((certificate) =>
    verify("sha256", octets, new X509Certificate(certificate).publicKey, signature),
  );
  if (!holds) refuse("the request's signature does not hold");
  const { root } = readXml(inflated(decoded("SAMLRequest") ?? ""));
  return checkedRequest(root, decoded("RelayState"), rules);
}

/** The request in a form (HTTP-POST, Bindings 3.5.4): not compressed, and the signature is in the XML. */
export function readPostedRequest(form: Readonly<Record<string, unknown>>, rules: RequestRules): AuthnRequest {
  const { SAMLRequest: request, RelayState: relayState } = form;
  if (typeof request !== "string") return refuse("there is not one SAMLRequest");
  if (relayState !== undefined && typeof relayState !== "string") return refuse("RelayState is given twice");
  return checkedRequest(signedRoot(request, rules), relayState, rules);
}

/** Read from what the signature covers. */
function signedRoot(request: string, { serviceProvider }: RequestRules): XmlElement {
  try {
    return verifiedRoot(readXml(Buffer.from(request, "base64")).text, serviceProvider.signing);
  } catch {
    return refuse("the request's signature does not hold");
  }
}

function inflated(request: string): Buffer {
  try {
    return inflateRawSync(Buffer.from(request, "base64"), { maxOutputLength: MAX_REQUEST });
  } catch {
    return refuse("the request can't be inflated");
  }
}

/** SAML Core 3.4.1 and 3.2.1, as an identity provider compares it with what is registered. */
function checkedRequest(root: XmlElement, relayState: string | undefined, rules: RequestRules): AuthnRequest {
  const { serviceProvider, destination, now } = rules;
  const { name, namespace, attributes } = root;
  if (name !== "AuthnRequest" || namespace !== SAMLP) refuse("the message is not an AuthnRequest");
  if (attributes.get("Version") !== "2.0") refuse("the request's Version is not 2.0");
  if (attributes.get("Destination") !== destination) refuse("the request's Destination is another");
  if (childOf(root, SAML, "Issuer")?.text !== serviceProvider.entityId)
    refuse("the request's Issuer is not registered");
  if (attributes.get("AssertionConsumerServiceURL") !== serviceProvider.acs) refuse("the ACS URL is not registered");
  if ((attributes.get("ProtocolBinding") ?? HTTP_POST) !== HTTP_POST) refuse("answers go by HTTP-POST only");
  const issued = Date.parse(attributes.get("IssueInstant") ?? "");
  if (!(Math.abs(now - issued) <= MAX_AGE)) refuse("the request's IssueInstant is not now");
  if (Buffer.byteLength(relayState ?? "") > 80) refuse("RelayState is longer than 80 bytes");
  return { id: attributes.get("ID") || refuse("the request has no ID"), relayState };
}

function refuse(what: string): never {
  throw new AuthnRequestFault(what);
}
