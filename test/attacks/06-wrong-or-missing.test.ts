import { afterAll, beforeAll, describe, test } from "vitest";
import type { ReasonCode } from "../../src/flow/errors.ts";
import { responseXml, type ResponseFacts } from "../../src/sandbox/saml/response.ts";
import { signXml } from "../../src/sandbox/saml/sign.ts";
import { startRedis, type TestRedis } from "../support/redis.ts";
import { Siege } from "../support/saml-attack.ts";
import { startSamlCompany, type SamlCompany } from "../support/saml-company.ts";

/** threats.md 6: all as it should be, and well signed, but for one thing. */

let redis: TestRedis;
let company: SamlCompany;
let siege: Siege;
beforeAll(async () => {
  redis = await startRedis();
  company = await startSamlCompany({ redisUrl: redis.url, providers: [{ id: "fresh", forceAuthn: true }] });
  siege = new Siege(company);
});
afterAll(async () => {
  try {
    await siege.end();
  } finally {
    await company.close();
    await redis.stop();
  }
});

type Change = (xml: string) => string;
type Row = readonly [name: string, reason: ReasonCode, change: Change];

const minutes = (count: number): string => new Date(Date.now() + count * 60_000).toISOString();
const without =
  (attribute: string, element = ""): Change =>
  (xml) =>
    xml.replace(new RegExp(`(<${element}[^>]*?) ${attribute}="[^"]*"`), "$1");
const having =
  (attribute: string, value: string, element = ""): Change =>
  (xml) =>
    xml.replace(new RegExp(`(<${element}[^>]*? ${attribute}=")[^"]*`), `$1${value}`);

const RESPONSE = "samlp:Response";
const ASSERTION = "saml:Assertion";
const DATA = "saml:SubjectConfirmationData";
const CONDITIONS = "saml:Conditions";
const AUTHN = "saml:AuthnStatement";

const ROWS: readonly Row[] = [
  ["Response: Issuer of another", "issuer_mismatch", (xml) => xml.replace(/(<saml:Issuer[^>]*>)[^<]*/, "$1urn:evil")],
  ["Response: no Issuer", "saml_malformed", (xml) => xml.replace(/<saml:Issuer xmlns[^]*?<\/saml:Issuer>/, "")],
  [
    "Assertion: Issuer of another",
    "issuer_mismatch",
    (xml) => xml.replace(/(<saml:Assertion[^>]*><saml:Issuer>)[^<]*/, "$1urn:evil"),
  ],
  ["Assertion: no Issuer", "saml_malformed", (xml) => xml.replace(/<saml:Issuer>[^<]*<\/saml:Issuer>/, "")],
  ["Recipient of another", "saml_not_for_us", having("Recipient", "https://evil.example/acs", DATA)],
  [
    "Recipient of another provider here",
    "saml_not_for_us",
    (xml) => having("Recipient", "http://x/login/fresh/acs", DATA)(xml),
  ],
  ["no Recipient", "saml_not_for_us", without("Recipient", DATA)],
  ["Destination of another", "saml_not_for_us", having("Destination", "https://evil.example/acs", RESPONSE)],
  ["no Destination", "saml_not_for_us", without("Destination", RESPONSE)],
  ["Audience of another", "saml_not_for_us", (xml) => xml.replace(/(<saml:Audience>)[^<]*/, "$1https://evil.example")],
  [
    "two AudienceRestrictions of which one is not ours",
    "saml_not_for_us",
    (xml) =>
      xml.replace(
        /<saml:AudienceRestriction>[^]*?<\/saml:AudienceRestriction>/,
        (ours) => ours + ours.replace(/http[^<]*/, "urn:x"),
      ),
  ],
  [
    "no Audience",
    "saml_malformed",
    (xml) => xml.replace(/<saml:AudienceRestriction>[^]*<\/saml:AudienceRestriction>/, ""),
  ],
  ["another Method", "saml_not_for_us", (xml) => xml.replace("cm:bearer", "cm:sender-vouches")],
  ["no Method", "saml_not_for_us", without("Method", "saml:SubjectConfirmation")],
  [
    "no SubjectConfirmation",
    "saml_malformed",
    (xml) => xml.replace(/<saml:SubjectConfirmation[^]*<\/saml:SubjectConfirmation>/, ""),
  ],
  [
    "two SubjectConfirmations",
    "saml_malformed",
    (xml) => xml.replace(/<saml:SubjectConfirmation [^]*<\/saml:SubjectConfirmation>/, (one) => one + one),
  ],
  ["Status of a failure", "idp_denied", (xml) => xml.replace("status:Success", "status:Responder")],
  [
    "Status NoPassive",
    "idp_denied",
    (xml) =>
      xml.replace(
        /<samlp:StatusCode [^>]*>/,
        '<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Responder"><samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:NoPassive"/></samlp:StatusCode>',
      ),
  ],
  ["no Status", "saml_malformed", (xml) => xml.replace(/<samlp:Status>[^]*<\/samlp:Status>/, "")],
  ["two Status", "saml_malformed", (xml) => xml.replace(/<samlp:Status>[^]*<\/samlp:Status>/, (one) => one + one)],
  ["NotBefore in the future", "saml_expired", having("NotBefore", minutes(5), CONDITIONS)],
  ["no NotBefore", "saml_expired", without("NotBefore", CONDITIONS)],
  [
    "a NotBefore of the confirmation in the future",
    "saml_expired",
    (xml) => xml.replace("<saml:SubjectConfirmationData", `<saml:SubjectConfirmationData NotBefore="${minutes(5)}"`),
  ],
  ["Conditions: NotOnOrAfter passed", "saml_expired", having("NotOnOrAfter", minutes(-2), CONDITIONS)],
  ["Conditions: no NotOnOrAfter", "saml_malformed", without("NotOnOrAfter", CONDITIONS)],
  ["confirmation: NotOnOrAfter passed", "saml_expired", having("NotOnOrAfter", minutes(-2), DATA)],
  ["confirmation: no NotOnOrAfter", "saml_malformed", without("NotOnOrAfter", DATA)],
  ["a time without a zone", "saml_expired", having("NotOnOrAfter", "2099-01-01T00:00:00", CONDITIONS)],
  ["Response: InResponseTo of another", "saml_unsolicited", having("InResponseTo", "_another", RESPONSE)],
  ["Response: no InResponseTo", "saml_unsolicited", without("InResponseTo", RESPONSE)],
  ["confirmation: InResponseTo of another", "saml_unsolicited", having("InResponseTo", "_another", DATA)],
  ["confirmation: no InResponseTo", "saml_unsolicited", without("InResponseTo", DATA)],
  ["Response: another Version", "saml_malformed", having("Version", "1.1", RESPONSE)],
  ["Assertion: another Version", "saml_malformed", having("Version", "1.1", ASSERTION)],
  ["Response: IssueInstant before the request", "saml_expired", having("IssueInstant", minutes(-3), RESPONSE)],
  ["Assertion: IssueInstant before the request", "saml_expired", having("IssueInstant", minutes(-3), ASSERTION)],
  ["Assertion: IssueInstant in the future", "saml_expired", having("IssueInstant", minutes(3), ASSERTION)],
  ["no AuthnStatement", "saml_malformed", (xml) => xml.replace(/<saml:AuthnStatement[^]*<\/saml:AuthnStatement>/, "")],
  ["AuthnInstant in the future", "saml_expired", having("AuthnInstant", minutes(3), AUTHN)],
  ["AuthnInstant 0", "saml_expired", having("AuthnInstant", "0", AUTHN)],
  [
    "a session that has ended",
    "saml_expired",
    (xml) => xml.replace("<saml:AuthnStatement", `<saml:AuthnStatement SessionNotOnOrAfter="${minutes(-2)}"`),
  ],
  ["an empty NameID", "subject_missing", (xml) => xml.replace(">jane-1<", "><")],
  [
    "a NameID of another format",
    "subject_missing",
    (xml) => xml.replace("nameid-format:persistent", "nameid-format:transient"),
  ],
  ["two Subjects", "saml_malformed", (xml) => xml.replace(/<saml:Subject>[^]*<\/saml:Subject>/, (one) => one + one)],
  [
    "two Conditions",
    "saml_malformed",
    (xml) => xml.replace(/<saml:Conditions [^]*<\/saml:Conditions>/, (one) => one + one),
  ],
];

const signed = (facts: ResponseFacts, change: Change): string =>
  signXml(signXml(change(responseXml(facts)), "Assertion", company.key), "root", company.key);

describe("refused for what is wrong", () => {
  test.each(ROWS)("%s: %s", async (_name, reason, change) => {
    await siege.expectRefused({ reason, forge: (facts) => signed(facts, change) });
  });

  test("ForceAuthn: somebody who was signed in at the provider before we asked", async () => {
    const change = having("AuthnInstant", minutes(-10), AUTHN);
    await siege.expectRefused({
      provider: "fresh",
      reason: "saml_expired",
      forge: (facts) => signed(facts, change),
    });
  });
});
