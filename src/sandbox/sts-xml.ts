import type { AwsSession } from "./aws-sessions.ts";
import type { SamlIdentity } from "./saml-assertion.ts";
import type { FederatedIdentity } from "./session-tags.ts";
import type { AssumedSession } from "./sts-actions.ts";
import type { StsFault } from "./sts-fault.ts";
import type { WebIdentity } from "./web-identity.ts";

/** STS's answers in the Query protocol's XML (botocore's service model `sts`, 2011-06-15). */

const NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";

export function webIdentityXml(assumed: AssumedSession<WebIdentity>, providerArn: string, requestId: string): string {
  const { subject, audience } = assumed.identity;
  const said = { SubjectFromWebIdentityToken: subject, Audience: audience, Provider: providerArn };
  return assumedXml("AssumeRoleWithWebIdentity", assumed, said, requestId);
}

export function samlXml(assumed: AssumedSession<SamlIdentity>, requestId: string): string {
  const { subject, subjectType, issuer, audience, nameQualifier } = assumed.identity;
  const said = {
    Subject: subject,
    SubjectType: subjectType,
    Issuer: issuer,
    Audience: audience,
    NameQualifier: nameQualifier,
  };
  return assumedXml("AssumeRoleWithSAML", assumed, said, requestId);
}

function assumedXml(
  action: string,
  { session, packedPolicySize }: AssumedSession<FederatedIdentity>,
  said: Readonly<Record<string, string>>,
  requestId: string,
): string {
  const credentials = element("Credentials", {
    AccessKeyId: session.accessKeyId,
    SecretAccessKey: session.secretAccessKey,
    SessionToken: session.sessionToken,
    Expiration: session.expiration.toISOString().replace(".000Z", "Z"),
  });
  const user = element("AssumedRoleUser", { Arn: session.arn, AssumedRoleId: session.userId });
  const rest = {
    ...said,
    PackedPolicySize: String(packedPolicySize),
    ...(session.sourceIdentity !== undefined && { SourceIdentity: session.sourceIdentity }),
  };
  return responseXml(action, credentials + user + elements(rest), requestId);
}

export function callerXml({ arn, userId, account }: AwsSession, requestId: string): string {
  return responseXml("GetCallerIdentity", elements({ Arn: arn, UserId: userId, Account: account }), requestId);
}

export function errorXml(fault: StsFault, requestId: string): string {
  const type = fault.status < 500 ? "Sender" : "Receiver";
  const error = element("Error", { Type: type, Code: fault.wireCode, Message: fault.message });
  return `<ErrorResponse xmlns="${NAMESPACE}">${error}${elements({ RequestId: requestId })}</ErrorResponse>`;
}

function responseXml(action: string, result: string, requestId: string): string {
  const metadata = element("ResponseMetadata", { RequestId: requestId });
  return `<${action}Response xmlns="${NAMESPACE}"><${action}Result>${result}</${action}Result>${metadata}</${action}Response>`;
}

function element(name: string, children: Readonly<Record<string, string>>): string {
  return `<${name}>${elements(children)}</${name}>`;
}

function elements(children: Readonly<Record<string, string>>): string {
  return Object.entries(children)
    .map(([name, text]) => `<${name}>${escapeXml(text)}</${name}>`)
    .join("");
}

function escapeXml(text: string): string {
  return text.replace(/[<>&"']/g, (char) => `&#${char.charCodeAt(0)};`);
}
