import type { ConfigFault } from "./config-error.ts";
import type { ConfigFile } from "./schema.ts";
import type { Readable } from "./shape.ts";

type Provider = ConfigFile["providers"][number];
type AddFault = (path: string, message: string) => void;

/** IAM takes an OIDC provider's URL of 255 characters at most (IAM API reference, CreateOpenIDConnectProvider). */
const MAX_FEDERATION_ISSUER = 255;

const SHORTEST_SESSION = 30 * 60;
const LONGEST_SESSION = 12 * 60 * 60;
/** Law 6: the docs promise a bound for somebody who left, so there is one whatever the file says. */
const LONGEST_AGE = 7 * 24 * 60 * 60;

/** One tenant's v2.0 issuer, by its GUID; common, organizations and consumers would let every tenant in. */
const ENTRA_ISSUER = /^https:\/\/login\.microsoftonline\.com\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/v2\.0$/;
const ENTRA_PATH = /^\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/v2\.0$/;

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

/** Seconds of a duration as the schema takes it: `30m`, `12h`. */
export function seconds(duration: string): number {
  const unit = { s: 1, m: 60, h: 3600, d: 86_400 }[duration.at(-1) as "s" | "m" | "h" | "d"];
  return Number(duration.slice(0, -1)) * unit;
}

/** `ADDRESS:PORT` -> its two parts; the brackets of an IPv6 address are left out. */
export function listenAddress(listen: string): { host: string; port: number } {
  const colon = listen.lastIndexOf(":");
  return { host: listen.slice(0, colon).replaceAll(/[[\]]/g, ""), port: Number(listen.slice(colon + 1)) };
}

function checkAddresses(file: Readable, add: AddFault): void {
  const { baseUrl, listen, environment } = file;
  if (baseUrl !== undefined) {
    if (new URL(baseUrl).origin !== baseUrl)
      add("baseUrl", "must be scheme and host in lower case, with nothing after: https://rolecall.acme.example");
    if (`${baseUrl}/federation`.length > MAX_FEDERATION_ISSUER)
      add("baseUrl", `is too long: IAM takes ${MAX_FEDERATION_ISSUER} characters, /federation included`);
    // IAM user guide, "Create an OpenID Connect (OIDC) identity provider in IAM".
    if (environment === "production" && new URL(baseUrl).port !== "")
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

/** Plain http is for this machine only, and in production neither is taken. */
function checkHost(path: string, address: string, environment: Readable["environment"], add: AddFault): void {
  const url = new URL(address);
  if (url.username !== "" || url.password !== "") add(path, "must not hold a user name or password");
  if (environment === undefined) return;
  const loopback = isLoopback(url.hostname);
  if (environment === "production") {
    if (url.protocol !== "https:") add(path, "must be https in production");
    if (loopback) add(path, "must not be this machine (a loopback host) in production");
  } else if (url.protocol !== "https:" && !loopback) {
    add(path, "must be https, or a loopback host (localhost, 127.0.0.1, [::1])");
  }
}

/** After WHATWG URL parsing, which writes every form of an IPv4 address alike. */
function isLoopback(hostname: string): boolean {
  const host = hostname.replace(/\.$/, "");
  return (
    ["localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"].includes(host) ||
    host.endsWith(".localhost") ||
    /^(?:127\.[0-9.]+|0\.0\.0\.0)$/.test(host) ||
    /^\[(?:::1?|::ffff:(?:7f[0-9a-f]{2}:[0-9a-f]{1,4}|0:0))\]$/.test(host)
  );
}

function checkAws(aws: ConfigFile["aws"], tags: Readable["tags"], add: AddFault): void {
  const duration = seconds(aws.sessionDuration);
  if (duration < SHORTEST_SESSION || duration > LONGEST_SESSION) add("aws.sessionDuration", "must be 30m to 12h");
  const partition = aws.region.startsWith("cn-") ? "aws-cn" : aws.region.startsWith("us-gov-") ? "aws-us-gov" : "aws";
  if (aws.roleArn.split(":")[1] !== partition)
    add("aws.roleArn", `must begin with arn:${partition}: as aws.region is in that partition`);
  for (const [i, key] of aws.transitiveTags.entries()) {
    const path = `aws.transitiveTags[${i}]`;
    if (!Object.hasOwn(tags, key)) add(path, "names no tag below tags");
    else if (aws.transitiveTags.indexOf(key) < i) add(path, "stands in the list a second time");
  }
}

function checkAge(path: string, age: string | undefined, add: AddFault): void {
  if (age !== undefined && seconds(age) > LONGEST_AGE) add(path, "must be 7d at most");
}

function checkProviders(providers: Readable["providers"], environment: Readable["environment"], add: AddFault): void {
  const ids = new Map<string, number>();
  const domains = new Map<string, { directory: string; path: string }>();
  const kinds = new Map<string, Provider>();
  for (const [i, provider] of providers.entries()) {
    if (!provider) continue;
    const path = `providers[${i}]`;
    const twin = ids.get(provider.id);
    if (twin !== undefined) add(`${path}.id`, `providers[${twin}] has this id already`);
    else ids.set(provider.id, i);
    checkProvider(path, provider, environment, add);

    const directory = provider.directory ?? provider.id;
    const first = kinds.get(directory);
    // Subjects are unique in one kind's naming; Okta's and Auth0's in one directory could stand for two humans.
    if (first && first.kind !== provider.kind)
      add(
        `${path}.directory`,
        `"${directory}" holds ${first.kind} subjects (provider ${first.id}), not ${provider.kind}`,
      );
    // OpenID Connect Core 1.0, section 2: a subject is unique within its issuer, and of generic ones no more is known.
    if (first?.kind === "generic" && first.issuer !== provider.issuer)
      add(`${path}.directory`, `"${directory}" holds the subjects of another issuer (provider ${first.id})`);
    kinds.set(directory, first ?? provider);
    for (const [j, domain] of provider.emailDomains.entries()) {
      const other = domains.get(domain);
      if (other && other.directory !== directory)
        add(`${path}.emailDomains[${j}]`, `${other.path} has this domain already, in another directory: choose one`);
      domains.set(domain, other ?? { directory, path: `${path}.emailDomains[${j}]` });
    }
  }
}

function checkProvider(path: string, provider: Provider, environment: Readable["environment"], add: AddFault): void {
  checkHost(`${path}.issuer`, provider.issuer, environment, add);
  checkAge(`${path}.claimsMaxAge`, provider.claimsMaxAge, add);
  const issuer = new URL(provider.issuer);
  // OpenID Connect Discovery 1.0, section 3: no query and no fragment.
  if (/[?#]/.test(provider.issuer)) add(`${path}.issuer`, "must have no query and no fragment");
  if (provider.kind === "entra" && !ENTRA_ISSUER.test(provider.issuer)) {
    const standIn = environment === "development" && issuer.hostname !== "login.microsoftonline.com";
    if (!standIn || !ENTRA_PATH.test(issuer.pathname))
      add(
        `${path}.issuer`,
        "must name one tenant: https://login.microsoftonline.com/TENANT-ID/v2.0 with the tenant's GUID in lower case, never common, organizations or consumers",
      );
  }
  if (provider.organization !== undefined && provider.kind !== "auth0")
    add(`${path}.organization`, "is for kind auth0 only");
  if (provider.scopes && !provider.scopes.includes("openid")) add(`${path}.scopes`, "must hold openid");

  const [wanted, other] =
    provider.clientAuth === "private_key_jwt"
      ? (["clientKey", "clientSecret"] as const)
      : (["clientSecret", "clientKey"] as const);
  if (provider[wanted] === undefined)
    add(`${path}.${wanted}`, `is missing: clientAuth ${provider.clientAuth} needs it`);
  if (provider[other] !== undefined)
    add(`${path}.${other}`, `does not go with clientAuth ${provider.clientAuth}: leave it out`);
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
