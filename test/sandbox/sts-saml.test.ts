import { createHash, X509Certificate } from "node:crypto";
import { AssumeRoleWithSAMLCommand, GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { samlMetadata } from "../../src/aws/saml-metadata.ts";
import { template } from "../../src/operator/template.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../src/sandbox/saml/key.ts";
import { signXml } from "../../src/sandbox/saml/sign.ts";
import { startSts, type SandboxSts } from "../../src/sandbox/sts.ts";
import { acmeConfig, JANE, ROLE_ARN } from "../support/federation.ts";

const BASE = "http://127.0.0.1:9";
const ISSUER = `${BASE}/federation`;
const PROVIDER = "arn:aws:iam::111122223333:saml-provider/Rolecall";
const AWS = "https://signin.aws.amazon.com/saml";
const NAME = "https://aws.amazon.com/SAML/Attributes/";
const ARN = `arn:aws:sts::111122223333:assumed-role/BedrockShared/${JANE}`;

let active: SamlIdpKey;
let prepared: SamlIdpKey;
let stranger: SamlIdpKey;
let sts: SandboxSts;

beforeAll(async () => {
  [active, prepared, stranger] = await Promise.all([newSamlIdpKey(), newSamlIdpKey(), newSamlIdpKey()]);
  const der = ({ certificate }: SamlIdpKey): string => new X509Certificate(certificate).raw.toString("base64");
  const config = acmeConfig(BASE, { aws: { federation: "saml", samlProviderArn: PROVIDER } });
  sts = await startSts({ trust: template("aws/role", config, samlMetadata(ISSUER, [der(active), der(prepared)])) });
});
afterAll(() => sts.close());

const at = (seconds: number): string => new Date(Date.now() + seconds * 1000).toISOString();
const attribute = (name: string, ...values: string[]): string =>
  `<saml:Attribute Name="${NAME}${name}">` +
  values.map((value) => `<saml:AttributeValue>${value}</saml:AttributeValue>`).join("") +
  `</saml:Attribute>`;

/** What the broker would say of Jane, unsigned. Each value stands here once, so that a test can change it alone. */
function honest(): string {
  return (
    `<samlp:Response xmlns:samlp="urn:oasis:names:tc:SAML:2.0:protocol" ID="_response" Version="2.0" Destination="${AWS}">` +
    `<saml:Issuer xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">${ISSUER}</saml:Issuer><samlp:Status>` +
    `<samlp:StatusCode Value="urn:oasis:names:tc:SAML:2.0:status:Success"/></samlp:Status>` +
    `<saml:Assertion xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion" ID="_assertion" Version="2.0"` +
    ` IssueInstant="${at(0)}"><saml:Issuer>${ISSUER}</saml:Issuer><saml:Subject>` +
    `<saml:NameID Format="urn:oasis:names:tc:SAML:2.0:nameid-format:persistent">${JANE}</saml:NameID>` +
    `<saml:SubjectConfirmation Method="urn:oasis:names:tc:SAML:2.0:cm:bearer">` +
    `<saml:SubjectConfirmationData NotOnOrAfter="${at(300)}" Recipient="${AWS}"/></saml:SubjectConfirmation>` +
    `</saml:Subject><saml:Conditions NotBefore="${at(-60)}" NotOnOrAfter="${at(300)}"><saml:AudienceRestriction>` +
    `<saml:Audience>${AWS}</saml:Audience></saml:AudienceRestriction></saml:Conditions>` +
    `<saml:AuthnStatement AuthnInstant="${at(0)}"><saml:AuthnContext><saml:AuthnContextClassRef>` +
    `urn:oasis:names:tc:SAML:2.0:ac:classes:unspecified</saml:AuthnContextClassRef></saml:AuthnContext>` +
    `</saml:AuthnStatement><saml:AttributeStatement>${attribute("Role", `${ROLE_ARN},${PROVIDER}`)}` +
    attribute("RoleSessionName", JANE) +
    attribute("SessionDuration", "3600") +
    attribute("SourceIdentity", JANE) +
    attribute("PrincipalTag:team", "search") +
    attribute("PrincipalTag:cost-centre", "cc-1042") +
    `</saml:AttributeStatement></saml:Assertion></samlp:Response>`
  );
}

const signed = (xml = honest(), key = active): string => signXml(xml, "Assertion", key);

interface Answer {
  readonly status: number;
  readonly code: string | undefined;
  readonly body: string;
}

async function call(xml: string, parameters: Record<string, string> = {}): Promise<Answer> {
  const response = await fetch(sts.url, {
    method: "POST",
    body: new URLSearchParams({
      Action: "AssumeRoleWithSAML",
      Version: "2011-06-15",
      RoleArn: ROLE_ARN,
      PrincipalArn: PROVIDER,
      SAMLAssertion: Buffer.from(xml).toString("base64"),
      ...parameters,
    }),
  });
  const body = await response.text();
  return { status: response.status, code: /<Code>(.*)<\/Code>/.exec(body)?.[1], body };
}

/** `xml` with its one `from` changed; throws where that changes nothing, and the test would try the honest one. */
function changed(xml: string, from: string | RegExp, to: string): string {
  const result = xml.replace(from, to);
  if (result === xml) throw new Error(`nothing to change: ${from.toString()}`);
  return result;
}

describe("a good assertion", () => {
  test("gives a session, and AWS's answer, to the stock client", async () => {
    const anonymous = { accessKeyId: "x", secretAccessKey: "x" };
    const client = new STSClient({ region: "us-east-1", endpoint: sts.url, credentials: anonymous });
    const answer = await client.send(
      new AssumeRoleWithSAMLCommand({
        RoleArn: ROLE_ARN,
        PrincipalArn: PROVIDER,
        SAMLAssertion: Buffer.from(signed()).toString("base64"),
        DurationSeconds: 1800,
      }),
    );
    client.destroy();
    expect(answer).toMatchObject({
      AssumedRoleUser: { Arn: ARN },
      Subject: JANE,
      SubjectType: "persistent",
      Issuer: ISSUER,
      Audience: AWS,
      NameQualifier: createHash("sha1").update(`${ISSUER}111122223333/Rolecall`).digest("base64"),
      PackedPolicySize: 25,
      SourceIdentity: JANE,
    });
    const { AccessKeyId = "", SecretAccessKey = "", SessionToken = "", Expiration } = answer.Credentials ?? {};
    expect(Number(Expiration) - Date.now()).toBeLessThanOrEqual(1_800_000);
    expect(Number(Expiration) - Date.now()).toBeGreaterThan(1_700_000);
    const credentials = { accessKeyId: AccessKeyId, secretAccessKey: SecretAccessKey, sessionToken: SessionToken };
    const janes = new STSClient({ region: "us-east-1", endpoint: sts.url, credentials });
    expect(await janes.send(new GetCallerIdentityCommand())).toMatchObject({ Arn: ARN });
    janes.destroy();
    expect(sts.sessions().at(-1)).toMatchObject({
      tokenId: "_assertion",
      sourceIdentity: JANE,
      tags: { team: "search", "cost-centre": "cc-1042" },
    });
  });

  const forms: [string, () => string][] = [
    ["by the certificate that is prepared", () => signed(honest(), prepared)],
    ["with a signature over the Response too", () => signXml(signed(), "root", active)],
    [
      "for urn:amazon:webservices",
      () => signed(changed(honest(), `<saml:Audience>${AWS}`, "<saml:Audience>urn:amazon:webservices")),
    ],
    [
      "at a region's sign-in address",
      () => signed(honest().replace("<saml:Audience>https://", "<saml:Audience>https://us-east-1.")),
    ],
    [
      "with the pair the other way round",
      () => signed(changed(honest(), `${ROLE_ARN},${PROVIDER}`, `${PROVIDER},${ROLE_ARN}`)),
    ],
    [
      "not valid before tomorrow, which AWS ignores",
      () => signed(changed(honest(), /NotBefore="[^"]*"/, `NotBefore="${at(86_400)}"`)),
    ],
    ["without the optional tag", () => signed(changed(honest(), attribute("PrincipalTag:cost-centre", "cc-1042"), ""))],
    [
      "with a transitive tag",
      () =>
        signed(
          changed(
            honest(),
            attribute("PrincipalTag:team", "search"),
            attribute("PrincipalTag:team", "search") + attribute("TransitiveTagKeys", "team"),
          ),
        ),
    ],
  ];
  test.each(forms)("%s", async (_name, xml) => {
    expect(await call(xml())).toMatchObject({ status: 200 });
  });

  test.each([
    ["SessionDuration", 900, () => changed(honest(), ">3600<", ">900<")],
    [
      "SessionNotOnOrAfter",
      400,
      () => changed(honest(), "<saml:AuthnStatement ", `<saml:AuthnStatement SessionNotOnOrAfter="${at(400)}" `),
    ],
  ] as const)("%s shortens the session", async (_name, seconds, xml) => {
    const { body } = await call(signed(xml()), { DurationSeconds: "3600" });
    const left = Date.parse(/<Expiration>(.*)<\/Expiration>/.exec(body)?.[1] ?? "") - Date.now();
    expect(left).toBeLessThanOrEqual(seconds * 1000);
    expect(left).toBeGreaterThan((seconds - 60) * 1000);
  });
});

type Row = [name: string, from: string | RegExp, to: string | (() => string), code: string, message: RegExp];

const INVALID = "InvalidIdentityToken";
const EXPIRED = "ExpiredTokenException";
const TEAM = attribute("PrincipalTag:team", "search");

const refused: Row[] = [
  [
    "an assertion of another Issuer",
    /(IssueInstant="[^"]*"><saml:Issuer>)[^<]*/,
    "$1https://evil.example",
    INVALID,
    /Issuer not present/,
  ],
  ["an end that has passed", /Data NotOnOrAfter="[^"]*"/, () => `Data NotOnOrAfter="${at(-1)}"`, EXPIRED, /5 minutes/],
  [
    "Conditions that have ended",
    /(NotBefore="[^"]*") NotOnOrAfter="[^"]*"/,
    () => `$1 NotOnOrAfter="${at(-1)}"`,
    EXPIRED,
    /5 minutes/,
  ],
  [
    "an age of 301 s",
    /IssueInstant="[^"]*"><saml:Issuer>/,
    () => `IssueInstant="${at(-301)}"><saml:Issuer>`,
    EXPIRED,
    /5 minutes/,
  ],
  [
    "an IssueInstant 302 s ahead",
    /IssueInstant="[^"]*"><saml:Issuer>/,
    () => `IssueInstant="${at(302)}"><saml:Issuer>`,
    INVALID,
    /not valid yet/,
  ],
  [
    "a session that has ended",
    "<saml:AuthnStatement ",
    () => `<saml:AuthnStatement SessionNotOnOrAfter="${at(-1)}" `,
    EXPIRED,
    /session/,
  ],
  ["no end", /Data NotOnOrAfter="[^"]*"/, "Data", INVALID, /Invalid base64/],
  ["no Conditions", /<saml:Conditions.*<\/saml:Conditions>/, "", INVALID, /Invalid base64/],
  ["no AuthnStatement", /<saml:AuthnStatement.*<\/saml:AuthnStatement>/, "", INVALID, /Invalid base64/],
  ["a NameID without Format", / Format="[^"]*"/, "", INVALID, /Invalid base64/],
  ["an empty NameID", `persistent">${JANE}`, `persistent">`, INVALID, /Invalid base64/],
  [
    "two confirmations",
    /(<saml:SubjectConfirmation .*<\/saml:SubjectConfirmation>)/,
    "$1$1",
    INVALID,
    /Invalid base64/,
  ],
  ["no Recipient", ` Recipient="${AWS}"`, "", INVALID, /Invalid base64/],
  ["another Recipient", `Recipient="${AWS}"`, `Recipient="https://evil.example/saml"`, INVALID, /audience/],
  ["a Recipient that only begins so", `Recipient="${AWS}"`, `Recipient="${AWS}.evil.example"`, INVALID, /audience/],
  ["another Audience", `<saml:Audience>${AWS}`, "<saml:Audience>https://evil.example", INVALID, /audience/],
  ["a Status of failure", ":Success", ":Responder", INVALID, /Invalid base64/],
  ["no RoleSessionName", attribute("RoleSessionName", JANE), "", INVALID, /RoleSessionName is required/],
  [
    "a RoleSessionName of one letter",
    attribute("RoleSessionName", JANE),
    attribute("RoleSessionName", "j"),
    INVALID,
    /RoleSessionName/,
  ],
  [
    "a RoleSessionName beyond ASCII",
    attribute("RoleSessionName", JANE),
    attribute("RoleSessionName", "jäne"),
    INVALID,
    /RoleSessionName/,
  ],
  [
    "two session names",
    attribute("RoleSessionName", JANE),
    attribute("RoleSessionName", JANE, JANE),
    INVALID,
    /RoleSessionName/,
  ],
  ["an attribute given twice", TEAM, TEAM + TEAM, INVALID, /given twice/],
  ["a tag with two values", TEAM, attribute("PrincipalTag:team", "search", "x"), INVALID, /PrincipalTag/],
  ["a tag without a value", TEAM, attribute("PrincipalTag:team"), INVALID, /PrincipalTag/],
  ["a comma in a tag", TEAM, attribute("PrincipalTag:team", "a,b"), INVALID, /PrincipalTag/],
  ["a tag key of AWS's", TEAM, attribute("PrincipalTag:aws:team", "search"), INVALID, /PrincipalTag/],
  ["tag keys that differ in case", TEAM, TEAM + attribute("PrincipalTag:Team", "search"), INVALID, /PrincipalTag/],
  ["a transitive key without a tag", TEAM, TEAM + attribute("TransitiveTagKeys", "x"), INVALID, /TransitiveTagKeys/],
  [
    "a source identity with a space",
    attribute("SourceIdentity", JANE),
    attribute("SourceIdentity", "a b"),
    INVALID,
    /SourceIdentity/,
  ],
  ["a SessionDuration of 899", ">3600<", ">899<", INVALID, /SessionDuration/],
  ["a SessionDuration in words", ">3600<", ">an hour<", INVALID, /SessionDuration/],
  ["a SessionDuration beyond the role's", ">3600<", ">7200<", "ValidationError", /MaxSessionDuration/],
  ["a Role that is no pair", `${ROLE_ARN},${PROVIDER}`, ROLE_ARN, INVALID, /Role is malformed/],
  // The rest is whole and true for AWS; the pair or the shipped trust policy refuses it.
  ["another role", `${ROLE_ARN},`, `${ROLE_ARN}2,`, "AccessDenied", /Not authorized/],
  ["another provider's pair", `,${PROVIDER}`, `,${PROVIDER}2`, "AccessDenied", /Not authorized/],
  ["no Role", attribute("Role", `${ROLE_ARN},${PROVIDER}`), "", "AccessDenied", /Not authorized/],
  [
    "another session name",
    attribute("RoleSessionName", JANE),
    attribute("RoleSessionName", "eve@acme.example"),
    "AccessDenied",
    /Not authorized/,
  ],
  [
    "another source identity",
    attribute("SourceIdentity", JANE),
    attribute("SourceIdentity", "eve@acme.example"),
    "AccessDenied",
    /Not authorized/,
  ],
  ["no source identity", attribute("SourceIdentity", JANE), "", "AccessDenied", /Not authorized/],
  [
    "a NameID of another format",
    "nameid-format:persistent",
    "nameid-format:transient",
    "AccessDenied",
    /Not authorized/,
  ],
  ["no required tag", TEAM, "", "AccessDenied", /Not authorized/],
  ["a tag key in another case", "PrincipalTag:team", "PrincipalTag:Team", "AccessDenied", /Not authorized/],
  ["an attribute's name in another case", "PrincipalTag:team", "principalTag:team", "AccessDenied", /Not authorized/],
  ["a tag key too many", TEAM, TEAM + attribute("PrincipalTag:admin", "yes"), "AccessDenied", /Not authorized/],
  ["a tag value off the list", TEAM, attribute("PrincipalTag:team", "sales"), "AccessDenied", /Not authorized/],
];

describe("an assertion that is good but for one thing", () => {
  test.each(refused)("%s", async (_name, from, to, code, message) => {
    const xml = changed(honest(), from, typeof to === "string" ? to : to());
    expect((await call(signed())).status).toBe(200);
    const answer = await call(signed(xml));
    expect(answer).toMatchObject({ code, status: code === "AccessDenied" ? 403 : 400 });
    expect(answer.body).toMatch(message);
  });

  test.each([
    ["another role's ARN", { RoleArn: `${ROLE_ARN}2` }, "AccessDenied"],
    ["another provider's ARN", { PrincipalArn: `${PROVIDER}2` }, INVALID],
    ["a duration beyond the role's", { DurationSeconds: "7200" }, "ValidationError"],
    ["a duration of 899", { DurationSeconds: "899" }, "ValidationError"],
    ["no assertion", { SAMLAssertion: "" }, "ValidationError"],
    ["100,001 characters", { SAMLAssertion: "A".repeat(100_001) }, "ValidationError"],
    ["no base64", { SAMLAssertion: "<samlp:Response/>" }, INVALID],
    ["a session policy", { Policy: "{}" }, "ValidationError"],
  ])("but called with %s", async (_name, parameters: Record<string, string>, code) => {
    expect((await call(signed(), parameters)).code).toBe(code);
  });

  test("and nobody gets a session by a token where SAML is trusted", async () => {
    const form = { Action: "AssumeRoleWithWebIdentity", RoleSessionName: JANE, WebIdentityToken: "a.b.c" };
    expect(await call("x", form)).toMatchObject({ code: INVALID });
  });
});

describe("an assertion that is good but for its signature", () => {
  const evil = (): string => honest().replaceAll(JANE, "eve@acme.example");
  const assertionOf = (xml: string): string => /<saml:Assertion.*<\/saml:Assertion>/s.exec(xml)?.[0] ?? "";
  const signatureOf = (xml: string): string => /<ds:Signature .*<\/ds:Signature>/s.exec(xml)?.[0] ?? "";
  const SHA1 = {
    signature: "http://www.w3.org/2000/09/xmldsig#rsa-sha1",
    digest: "http://www.w3.org/2000/09/xmldsig#sha1",
  } as const;

  const forgeries: [string, () => string][] = [
    ["none", honest],
    ["one over the Response alone", () => signXml(honest(), "root", active)],
    ["another's key", () => signed(honest(), stranger)],
    ["by SHA-1", () => signXml(honest(), "Assertion", active, SHA1)],
    ["a tag changed after signing", () => changed(signed(), ">search<", ">ml-platform<")],
    [
      "a Response signature that does not hold",
      () => changed(signXml(signed(), "root", active), `Destination="${AWS}"`, `Destination="x"`),
    ],
    ["another's over the Response", () => signXml(signed(), "root", stranger)],
    [
      "a forged assertion that holds the signed one (XSW)",
      () => {
        const inner = assertionOf(signed());
        const outer = assertionOf(evil()).replace("_assertion", "_evil");
        return honest().replace(
          assertionOf(honest()),
          outer.replace("<saml:Subject>", `${signatureOf(inner)}<saml:Advice>${inner}</saml:Advice><saml:Subject>`),
        );
      },
    ],
    [
      "a forged assertion with the signed one's ID and signature",
      () => {
        const inner = assertionOf(signed());
        const forged = assertionOf(evil()).replace("<saml:Subject>", `${signatureOf(inner)}<saml:Subject>`);
        return honest().replace(assertionOf(honest()), `${forged}<samlp:Extensions>${inner}</samlp:Extensions>`);
      },
    ],
    [
      "two assertions, one of them forged",
      () => {
        const forged = assertionOf(evil()).replace("_assertion", "_evil");
        return changed(signed(), "</samlp:Status>", `</samlp:Status>${forged}`);
      },
    ],
  ];
  test.each(forgeries)("%s", async (_name, forge) => {
    expect((await call(signed())).status).toBe(200);
    const before = sts.sessions().length;
    expect(await call(forge())).toMatchObject({ status: 400, code: INVALID });
    expect(sts.sessions()).toHaveLength(before);
  });

  test("what stands beside the signed bytes says nothing: a comment in a value, an attribute elsewhere", async () => {
    const outside = changed(
      signed(),
      "</samlp:Status>",
      `</samlp:Status><samlp:Extensions>${attribute("PrincipalTag:team", "ml-platform")}</samlp:Extensions>`,
    );
    expect(
      await call(
        outside.replace("<samlp:Extensions>", '<samlp:Extensions xmlns:saml="urn:oasis:names:tc:SAML:2.0:assertion">'),
      ),
    ).toMatchObject({ status: 200 });
    expect(sts.sessions().at(-1)?.tags["team"]).toBe("search");
    expect(await call(changed(signed(), `persistent">${JANE}`, `persistent">jane@acme.example<!-- -->`))).toMatchObject(
      { code: INVALID },
    );
  });
});
