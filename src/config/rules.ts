import type { ConfigFault } from "./config-error.ts";
import { checkAge, checkHost, seconds, type AddFault } from "./checks.ts";
import { checkProviders } from "./provider-rules.ts";
import type { ConfigFile } from "./schema.ts";
import type { Readable } from "./shape.ts";

/** IAM takes an OIDC provider's URL of 255 characters at most (IAM API reference, CreateOpenIDConnectProvider). */
const MAX_FEDERATION_ISSUER = 255;

const SHORTEST_SESSION = 30 * 60;
const LONGEST_SESSION = 12 * 60 * 60;
/** The faults of what spans fields, of as much of the file as could be read. Reads no secret, file or environment. */
export function checkRules(file: Readable): ConfigFault[] {
  const faults: ConfigFault[] = [];
  const add: AddFault = (path, message) => void faults.push({ path, message });
  checkAddresses(file, add);
  checkEnvironment(file, add);
  if (file.aws) checkAws(file.aws, file.tags, add);
  checkAge("signInMaxAge", file.signInMaxAge, add);
  checkProviders(file.providers, file.environment, add);
  checkReferences(file, add);
  return faults;
}

/** `ADDRESS:PORT` -> its two parts; the brackets of an IPv6 address are left out. */
export function listenAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(":");
  return { host: listen.slice(0, colon).replaceAll(/[[\]]/g, ""), port: Number(listen.slice(colon + 1)) };
}

function checkAddresses(file: Readable, add: AddFault): void {
  const { baseUrl, listen, environment } = file;
  // AWS never calls a SAML provider.
  const isOidcProvider = file.aws?.federation !== "saml";
  if (baseUrl !== undefined) {
    if (new URL(baseUrl).origin !== baseUrl)
      add("baseUrl", "must be scheme and host in lower case, with nothing after: https://rolecall.acme.example");
    if (isOidcProvider && `${baseUrl}/federation`.length > MAX_FEDERATION_ISSUER)
      add("baseUrl", `is too long: IAM takes ${MAX_FEDERATION_ISSUER} characters, /federation included`);
    // IAM user guide, "Create an OpenID Connect (OIDC) identity provider in IAM".
    if (isOidcProvider && environment === "production" && new URL(baseUrl).port !== "")
      add("baseUrl", "must have no port in production: IAM takes none in the URL of an identity provider");
    checkHost("baseUrl", baseUrl, environment, add);
  }
  if (listen !== undefined) {
    const { port } = listenAddress(listen);
    // Port 0, any free one, is for tests.
    const lowest = environment === "development" ? 0 : 1;
    if (port < lowest || port > 65_535) add("listen", `the port must be ${lowest} to 65535`);
  }
}

/** Law 8: what production never takes. */
function checkEnvironment({ environment, aws, redis }: Readable, add: AddFault): void {
  checkEndpoint("aws.stsEndpoint", "STS", aws?.stsEndpoint ?? undefined, environment, add);
  checkEndpoint("aws.kmsEndpoint", "KMS", aws?.kmsEndpoint ?? undefined, environment, add);
  if (environment !== "production") return;
  if (redis === undefined)
    add("redis", "is missing: production keeps sessions in Redis, as redis: { url: { env: REDIS_URL } }");
}

function checkEndpoint(
  path: string,
  service: string,
  url: string | undefined,
  environment: Readable["environment"],
  add: AddFault,
): void {
  if (url === undefined) return;
  if (environment === "development") checkHost(path, url, environment, add);
  if (environment === "production") add(path, `is for development only: production asks AWS's own ${service}`);
}

function checkAws(aws: ConfigFile["aws"], tags: Readable["tags"], add: AddFault): void {
  const duration = seconds(aws.sessionDuration);
  if (duration < SHORTEST_SESSION || duration > LONGEST_SESSION) add("aws.sessionDuration", "must be 30m to 12h");
  const partition = aws.region.startsWith("cn-") ? "aws-cn" : aws.region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
  if (aws.roleArn.split(":")[1] !== partition)
    add("aws.roleArn", `must begin with arn:${partition}: as aws.region is in that partition`);
  checkSamlProvider(aws, add);
  for (const [i, key] of aws.transitiveTags.entries()) {
    const path = `aws.transitiveTags[${i}]`;
    if (!Object.hasOwn(tags, key)) add(path, "names no tag below tags");
    else if (aws.transitiveTags.indexOf(key) < i) add(path, "stands in the list a second time");
  }
}

function checkSamlProvider({ federation, samlProviderArn, roleArn }: ConfigFile["aws"], add: AddFault): void {
  if (federation === "web-identity") {
    if (samlProviderArn !== undefined) add("aws.samlProviderArn", "is for federation: saml");
    return;
  }
  if (samlProviderArn === undefined) {
    add("aws.samlProviderArn", "is missing: the ARN of the SAML provider that stands for this broker in IAM");
  } else if (accountOf(samlProviderArn) !== accountOf(roleArn)) {
    add("aws.samlProviderArn", "must be in the account and partition of aws.roleArn");
  }
}

/** With its partition: all before the resource. */
function accountOf(arn: string): string {
  return arn.split(":").slice(0, 5).join(":");
}

/** A rule that names a provider which isn't there would never speak, and nobody would know. */
function checkReferences(file: Readable, add: AddFault): void {
  // With a provider that can't be read its name is unknown, and nothing can be said of the others'.
  if (file.providers.includes(undefined)) return;
  const ids = new Set(file.providers.map((provider) => provider?.id));
  for (const [key, rule] of Object.entries(file.tags)) {
    for (const [i, source] of (rule?.from ?? []).entries()) {
      for (const [j, id] of (source.providers ?? []).entries()) {
        if (!ids.has(id)) add(`tags.${key}.from[${i}].providers[${j}]`, "names no provider below providers");
      }
    }
  }
  for (const [role, rules] of Object.entries(file.access ?? {})) {
    for (const [i, rule] of rules.entries()) {
      if (!ids.has(rule.provider)) add(`access.${role}[${i}].provider`, "names no provider below providers");
    }
  }
}
