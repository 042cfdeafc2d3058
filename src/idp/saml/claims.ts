import type { SamlProvider } from "../../config/config.ts";
import type { JsonValue } from "../../flow/identity.ts";
import { type Claims, refuse } from "../claim-rules.ts";
import { attributeNamesOf } from "./attribute-names.ts";
import { PERSISTENT } from "./assertion.ts";
import { childrenOf, SAML, type XmlElement } from "./xml.ts";

/** What passport-saml's profile has beside the attributes, and every object in JavaScript: nobody may send these. */
const RESERVED = new Set([
  ...Object.getOwnPropertyNames(Object.prototype),
  "prototype",
  "nameID",
  "nameIDFormat",
  "nameQualifier",
  "spNameQualifier",
  "inResponseTo",
  "sessionIndex",
  "getAssertion",
  "getAssertionXml",
  "getSamlResponseXml",
]);

/** The format of the NameID that says who it is; undefined: an attribute says it, and any NameID will do. */
export function nameIdFormatOf(provider: SamlProvider): string | undefined {
  return subjectClaimOf(provider) === undefined ? PERSISTENT : undefined;
}

/** An attribute's name, and its value; null: none. */
type Attribute = readonly [name: string, value: JsonValue];

/** The attributes of a verified assertion, in its order. One value is text, several are a list, an element in a value makes an object of it. */
export function attributesOf(assertion: XmlElement): Attribute[] {
  const statements = childrenOf(assertion, SAML, "AttributeStatement");
  const attributes = statements.flatMap((statement) => childrenOf(statement, SAML, "Attribute"));
  return attributes.map((attribute) => [attribute.attributes.get("Name") ?? "", valueOf(attribute)]);
}

/**
 * The attributes as claims, under the names that the same provider's ID tokens have, so that one rule reads both; `sub` is
 * the person's ID. `nameId`: undefined where there is none. Throws `attribute_ambiguous` where a name is given twice, by two
 * names of one meaning, or is not an attribute's to have.
 */
export function samlClaims(
  provider: SamlProvider,
  attributes: Iterable<Attribute>,
  nameId: string | undefined,
): Claims {
  const names = attributeNamesOf(provider.kind);
  const claims = new Map<string, JsonValue>();
  for (const [given, value] of attributes) {
    const name = names.get(given) ?? given;
    if (RESERVED.has(given) || given === "") ambiguous("an attribute has a name that is not its own");
    if (claims.has(name)) ambiguous(`an attribute that says ${name} is given twice`);
    claims.set(name, value);
  }
  nameSubject(provider, claims, nameId);
  // Without a value an attribute says nothing; but given twice it is all the same.
  return Object.fromEntries([...claims].filter(([, value]) => value !== null));
}

/** Entra ID's people are named by two claims (src/idp/entra.ts). */
function nameSubject(provider: SamlProvider, claims: Map<string, JsonValue>, nameId: string | undefined): void {
  if (provider.kind === "entra") return;
  const subjectClaim = subjectClaimOf(provider);
  if (subjectClaim === "sub") return;
  if (claims.has("sub")) ambiguous("an attribute says sub, and subjectClaim is another");
  const subject = subjectClaim === undefined ? nameId : claims.get(subjectClaim);
  if (subject !== undefined) claims.set("sub", subject);
}

/** Auth0's own attribute has the user ID, as `sub` of its ID tokens does. */
function subjectClaimOf({ kind, subjectClaim }: SamlProvider): string | undefined {
  if (subjectClaim !== undefined) return attributeNamesOf(kind).get(subjectClaim) ?? subjectClaim;
  return kind === "auth0" ? "sub" : kind === "entra" ? "oid" : undefined;
}

function valueOf(attribute: XmlElement): JsonValue {
  const values = childrenOf(attribute, SAML, "AttributeValue").map(oneValue);
  return values.length > 1 ? values : (values[0] ?? null);
}

function oneValue({ children, text }: XmlElement): JsonValue {
  return children.length === 0 ? text : Object.fromEntries(children.map((child) => [child.name, child.text]));
}

function ambiguous(what: string): never {
  return refuse("attribute_ambiguous", what);
}
