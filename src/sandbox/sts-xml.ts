import type { AwsSession } from "./aws-sessions.ts";
import type { AssumedSession } from "./sts-actions.ts";
import type { StsFault } from "./sts-fault.ts";

/** STS's answers in the Query protocol's XML (botocore's service model `sts`, 2011-06-15). */

const NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/";

export function assumedXml(
  { session, identity, packedPolicySize }: AssumedSession,
  providerArn: string,
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
    SubjectFromWebIdentityToken: identity.subject,
    Audience: identity.audience,
    Provider: providerArn,
    PackedPolicySize: String(packedPolicySize),
    ...(session.sourceIdentity !== undefined && { SourceIdentity: session.sourceIdentity }),
  };
  return responseXml("AssumeRoleWithWebIdentity", credentials + user + elements(rest), requestId);
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
