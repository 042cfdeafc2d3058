import { randomUUID } from "node:crypto";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { sessionArnOf } from "../../src/flow/federation-token.ts";
import { certificatesOf, xmlsecVerifies } from "./xml-tools.ts";

/** What a caller sent, and what its assertion holds. */
export interface SamlCall {
  readonly form: Readonly<Record<string, string>>;
  readonly xml: string;
  readonly headers: Readonly<Record<string, unknown>>;
}

export interface SamlSts {
  readonly url: string;
  readonly calls: readonly SamlCall[];
  /** What was uploaded; whoever signed with another key is refused. */
  metadata: string;
  /** In place of what the answer says, by element. */
  answer: Readonly<Record<string, string>>;
  close(): Promise<void>;
}

/**
 * As much of STS as the broker's half of AssumeRoleWithSAML is tried against: the assertion's signature is xmlsec1's to
 * judge, by the certificates of the uploaded metadata.
 */
export async function startSamlSts(metadata: string): Promise<SamlSts> {
  const calls: SamlCall[] = [];
  const server = createServer((req, res) => {
    void (async () => {
      const body = Buffer.concat(await Array.fromAsync(req as AsyncIterable<Buffer>)).toString();
      const form = Object.fromEntries(new URLSearchParams(body));
      const xml = Buffer.from(form["SAMLAssertion"] ?? "", "base64").toString();
      calls.push({ form, xml, headers: req.headers });
      const known = certificatesOf(sts.metadata).some((certificate) => xmlsecVerifies(xml, certificate));
      res.writeHead(known ? 200 : 400, { "content-type": "text/xml", "x-amzn-requestid": randomUUID() });
      res.end(known ? sessionXml({ ...said(form, xml), ...sts.answer }) : INVALID);
    })();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const sts: SamlSts = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    metadata,
    answer: {},
    close: () =>
      new Promise((resolve) => {
        server.close(() => {
          resolve();
        });
        server.closeAllConnections();
      }),
  };
  return sts;
}

/** The one value of that attribute, without AWS's prefix. */
export function attributeOf(xml: string, name: string): string {
  const attribute = `Name="https://aws.amazon.com/SAML/Attributes/${name}"><saml:AttributeValue>`;
  return xml.split(attribute)[1]?.split("<")[0] ?? "";
}

function said(form: SamlCall["form"], xml: string): Record<string, string> {
  const duration = Number(form["DurationSeconds"]) * 1000;
  return {
    Arn: sessionArnOf(form["RoleArn"] ?? "", attributeOf(xml, "RoleSessionName")),
    Expiration: new Date(Date.now() + duration).toISOString(),
    SourceIdentity: attributeOf(xml, "SourceIdentity"),
    Subject: /<saml:NameID[^>]*>([^<]*)</.exec(xml)?.[1] ?? "",
    Issuer: /<saml:Issuer[^>]*>([^<]*)</.exec(xml)?.[1] ?? "",
    Audience: / Recipient="([^"]*)"/.exec(xml)?.[1] ?? "",
  };
}

function sessionXml({ Arn, Expiration, ...rest }: Record<string, string>): string {
  const more = Object.entries(rest).map(([name, value]) => `<${name}>${value}</${name}>`);
  return (
    `<AssumeRoleWithSAMLResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithSAMLResult>` +
    `<Credentials><AccessKeyId>ASIA${randomUUID().slice(0, 8)}</AccessKeyId><SecretAccessKey>secret</SecretAccessKey>` +
    `<SessionToken>session</SessionToken><Expiration>${Expiration}</Expiration></Credentials>` +
    `<AssumedRoleUser><Arn>${Arn}</Arn><AssumedRoleId>AROAX:x</AssumedRoleId></AssumedRoleUser>` +
    `<SubjectType>persistent</SubjectType><PackedPolicySize>25</PackedPolicySize>${more.join("")}` +
    `</AssumeRoleWithSAMLResult><ResponseMetadata><RequestId>${randomUUID()}</RequestId></ResponseMetadata>` +
    `</AssumeRoleWithSAMLResponse>`
  );
}

const INVALID =
  `<ErrorResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><Error><Type>Sender</Type>` +
  `<Code>InvalidIdentityToken</Code><Message>Invalid base64 SAMLResponse</Message></Error>` +
  `<RequestId>${randomUUID()}</RequestId></ErrorResponse>`;
