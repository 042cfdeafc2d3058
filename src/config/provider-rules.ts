import { checkAge, checkHost, type AddFault } from "./checks.ts";
import type { ConfigFile } from "./schema.ts";
import type { Readable } from "./shape.ts";

type Provider = ConfigFile["providers"][number];
type Oidc = Extract<Provider, { protocol: "oidc" }>;
type Saml = Extract<Provider, { protocol: "saml" }>;

/** One tenant's v2.0 issuer, by its GUID; common, organizations and consumers would let every tenant in. */
const ENTRA_ISSUER = /^https:\/\/login\.microsoftonline\.com\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/v2\.0$/;
const ENTRA_PATH = /^\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/v2\.0$/;
/** Its SAML entity ID, a name that nobody goes to. */
const ENTRA_ENTITY = /^https:\/\/sts\.windows\.net\/[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\/$/;

/** The faults of each provider, and of what they must not share. */
export function checkProviders(
  providers: Readable["providers"],
  environment: Readable["environment"],
  add: AddFault,
): void {
  const ids = new Map<string, number>();
  const domains = new Map<string, { directory: string; path: string }>();
  const members = new Map<string, Provider[]>();
  for (const [i, provider] of providers.entries()) {
    if (!provider) continue;
    const path = `providers[${i}]`;
    const twin = ids.get(provider.id);
    if (twin !== undefined) add(`${path}.id`, `providers[${twin}] has this id already`);
    else ids.set(provider.id, i);
    checkProvider(path, provider, environment, add);

    const directory = provider.directory ?? provider.id;
    const others = members.get(directory) ?? [];
    const [first] = others;
    // Subjects are unique in one kind's naming; Okta's and Auth0's in one directory could stand for two humans.
    if (first && first.kind !== provider.kind)
      add(
        `${path}.directory`,
        `"${directory}" holds ${first.kind} subjects (provider ${first.id}), not ${provider.kind}`,
      );
    const fault = others.map((other) => sharedFault(other, provider)).find((it) => it !== undefined);
    if (fault !== undefined) add(`${path}.directory`, `"${directory}" ${fault}`);
    members.set(directory, [...others, provider]);
    for (const [j, domain] of provider.emailDomains.entries()) {
      const other = domains.get(domain);
      if (other && other.directory !== directory)
        add(`${path}.emailDomains[${j}]`, `${other.path} has this domain already, in another directory: choose one`);
      domains.set(domain, other ?? { directory, path: `${path}.emailDomains[${j}]` });
    }
  }
}

/** Two providers may speak for the same people only where both name a person alike; undefined: as far as can be told, they do. */
function sharedFault(other: Provider, provider: Provider): string | undefined {
  const [byNameId, ...both] = [provider, other].filter(isNamedByNameId);
  if (byNameId && both.length === 0) {
    const names = byNameId === provider ? other : provider;
    const has = names.protocol === "oidc" ? "OIDC subjects" : "subjects that are no NameIDs";
    return `holds ${has} (provider ${names.id}): provider ${byNameId.id} needs subjectClaim, an attribute with the same`;
  }
  // OpenID Connect Core 1.0, section 2: a subject is unique within its issuer, and of generic ones no more is known.
  const alike = other.protocol === provider.protocol && other.kind === "generic";
  return alike && other.issuer !== provider.issuer
    ? `holds the subjects of another issuer (provider ${other.id})`
    : undefined;
}

/** The other kinds say it in both protocols alike: tid and oid; the user ID. */
function isNamedByNameId(provider: Provider): boolean {
  return (
    provider.protocol === "saml" &&
    provider.subjectClaim === undefined &&
    provider.kind !== "entra" &&
    provider.kind !== "auth0"
  );
}

function checkProvider(path: string, provider: Provider, environment: Readable["environment"], add: AddFault): void {
  checkAge(`${path}.claimsMaxAge`, provider.claimsMaxAge, add);
  if (provider.organization !== undefined && provider.kind !== "auth0")
    add(`${path}.organization`, "is for kind auth0 only");
  if (provider.protocol === "oidc") checkOidc(path, provider, environment, add);
  else checkSaml(path, provider, environment, add);
}

function checkOidc(path: string, provider: Oidc, environment: Readable["environment"], add: AddFault): void {
  checkHost(`${path}.issuer`, provider.issuer, environment, add);
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

function checkSaml(path: string, provider: Saml, environment: Readable["environment"], add: AddFault): void {
  const { entryPoint, certificates, metadata } = provider;
  if (provider.kind === "entra" && !ENTRA_ENTITY.test(provider.issuer))
    add(
      `${path}.issuer`,
      "must name one tenant: https://sts.windows.net/TENANT-ID/ with the tenant's GUID in lower case",
    );
  if (provider.kind === "entra" && provider.subjectClaim !== undefined)
    add(`${path}.subjectClaim`, "is not for kind entra, where a person is tenantid/objectidentifier");
  if (entryPoint !== undefined) checkHost(`${path}.entryPoint`, entryPoint, environment, add);
  if (!metadata) {
    if (entryPoint === undefined) add(`${path}.entryPoint`, "is missing, and so is metadata that would say it");
    if (certificates === undefined) add(`${path}.certificates`, "is missing, and so is metadata that would have them");
    return;
  }
  if ((metadata.file === undefined) === (metadata.url === undefined))
    add(`${path}.metadata`, "must have either file or url");
  if (metadata.url === undefined) {
    if (metadata.signedBy !== undefined) add(`${path}.metadata.signedBy`, "goes with url only: leave it out");
    return;
  }
  checkHost(`${path}.metadata.url`, metadata.url, environment, add);
  // Whoever answers for the URL could otherwise put in a key of their own, and be anybody.
  if (metadata.signedBy === undefined && certificates === undefined)
    add(`${path}.metadata`, "by url needs signedBy (who signs it) or certificates (the only ones that then count)");
}
