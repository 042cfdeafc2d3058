import fc from "fast-check";
import { beforeAll, expect, test } from "vitest";
import type { ProviderConfig, SamlProvider } from "../../../src/config/config.ts";
import { Refusal } from "../../../src/flow/errors.ts";
import type { JsonValue } from "../../../src/flow/identity.ts";
import { roleSessionName } from "../../../src/flow/session-name.ts";
import { claimsRead, compileMapping, mapTags } from "../../../src/flow/tags.ts";
import { identityFromClaims } from "../../../src/idp/identity.ts";
import { samlClient, type SamlClient, type SpKeys } from "../../../src/idp/saml/saml.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../../src/sandbox/saml/key.ts";
import { signedResponse } from "../../../src/sandbox/saml/sign.ts";
import { providerConfig, TENANT } from "../../support/provider-config.ts";

/**
 * One person of one directory, by OpenID Connect and by SAML: the same person for Rolecall, with the same session name and
 * tags, or refused for the same reason. The claims are written as each protocol has them; the SAML answer is signed, and read as in production.
 */

const KINDS = ["okta", "entra", "auth0", "generic"] as const;
type Kind = (typeof KINDS)[number];

/** What the directory knows of somebody. */
interface Person {
  readonly id: string;
  readonly email: string;
  readonly emailVerified: boolean;
  readonly guest: boolean;
  readonly groups: readonly string[];
  readonly inTooManyGroups: boolean;
  readonly costCentre: string | null;
  readonly organization: string;
}

const usually = <T>(value: T, ...others: T[]): fc.Arbitrary<T> =>
  fc.oneof({ weight: 6, arbitrary: fc.constant(value) }, { weight: 1, arbitrary: fc.constantFrom(...others) });

const person: fc.Arbitrary<Person> = fc.record({
  id: fc.stringMatching(/^[0-9a-f]{12}$/),
  email: fc
    .tuple(
      fc.oneof(fc.stringMatching(/^[aejnAEJN.+_&'é-]{1,9}$/), fc.constant("j".repeat(60))),
      usually("acme.example", "ACME.example", "evil.example", "acme.example.evil.example"),
    )
    .map((parts) => parts.join("@")),
  emailVerified: usually(true, false),
  guest: usually(false, true),
  groups: fc.uniqueArray(fc.constantFrom("bedrock-search", "bedrock-ml", "everyone", "R&D <all>", "Zürich"), {
    minLength: 1,
    maxLength: 3,
  }),
  inTooManyGroups: usually(false, true),
  costCentre: fc.option(fc.constantFrom("cc-1042", "cc-1043", "cc-1042 ", "cc 1042", "=cmd", "cc-9"), { freq: 5 }),
  organization: usually("org_acme", "org_evil"),
});

/** Object IDs at Entra ID. */
const oidOf = ({ id }: Person): string => `6a5d2c14-03b7-4b7d-9b0e-${id}`;
const subjectOf = (kind: Kind, { id }: Person): string => (kind === "auth0" ? `auth0|${id}` : id);
const upnOf = ({ guest, email, id }: Person): string => (guest ? `${id}_partner.example#EXT#@acme.example` : email);
const many = Array.from({ length: 120 }, (_, i) => `group-${i}`);
const groupsOf = (kind: Kind, { groups, inTooManyGroups }: Person): readonly string[] =>
  kind === "okta" && inTooManyGroups ? [...groups, ...many] : groups;

function idToken(kind: Kind, of: Person): Record<string, JsonValue> {
  const groups = [...groupsOf(kind, of)];
  const standard = { email: of.email, groups, ...(of.costCentre !== null && { costCenter: of.costCentre }) };
  if (kind !== "entra") {
    const pinned = kind === "auth0" ? { org_id: of.organization } : {};
    return { sub: subjectOf(kind, of), email_verified: of.emailVerified, ...standard, ...pinned };
  }
  const { groups: told, ...rest } = standard;
  const member = { tid: TENANT, oid: oidOf(of), upn: upnOf(of), acct: of.guest ? 1 : 0, ...rest };
  // Entra ID, above 200 groups.
  if (of.inTooManyGroups) return { ...member, _claim_names: { groups: "src1" }, _claim_sources: { src1: {} } };
  return { ...member, groups: told };
}

const WS = "http://schemas.xmlsoap.org/ws/2005/05/identity/claims";
const MICROSOFT = "http://schemas.microsoft.com";

type Attributes = Record<string, string | readonly string[]>;

function attributes(kind: Kind, of: Person): Attributes {
  const costCentre: Attributes = of.costCentre === null ? {} : { costCenter: of.costCentre };
  const groups = groupsOf(kind, of);
  const emailVerified = String(of.emailVerified);
  switch (kind) {
    case "okta":
    case "generic":
      return { userId: of.id, email: of.email, email_verified: emailVerified, groups, ...costCentre };
    case "auth0":
      return {
        [`${WS}/nameidentifier`]: subjectOf(kind, of),
        [`${WS}/emailaddress`]: of.email,
        "http://schemas.auth0.com/email_verified": emailVerified,
        "http://schemas.auth0.com/org_id": of.organization,
        groups,
        ...costCentre,
      };
    case "entra":
      return {
        [`${MICROSOFT}/identity/claims/tenantid`]: TENANT,
        [`${MICROSOFT}/identity/claims/objectidentifier`]: oidOf(of),
        [`${MICROSOFT}/identity/claims/identityprovider`]: `https://sts.windows.net/${TENANT}/`,
        [`${WS}/name`]: upnOf(of),
        [`${WS}/emailaddress`]: of.email,
        // Above 150 groups.
        ...(of.inTooManyGroups
          ? { [`${MICROSOFT}/claims/groups.link`]: "https://graph.windows.net/never-to-be-fetched" }
          : { [`${MICROSOFT}/ws/2008/06/identity/claims/groups`]: groups }),
        ...costCentre,
      };
  }
}

const NOW = Date.parse("2026-11-22T12:00:00Z");
const ADDRESS = "https://rolecall.acme.example/login/saml";

let key: SamlIdpKey;
let keys: SpKeys;
beforeAll(async () => {
  key = await newSamlIdpKey();
  keys = { signing: await newSamlIdpKey(), encryption: await newSamlIdpKey() };
});

const compiled = compileMapping({
  team: {
    required: true,
    from: [{ claim: "groups", match: { "bedrock-search": "search", "bedrock-ml": "ml-platform" } }],
  },
  "cost-centre": { from: [{ claim: "costCenter" }], allowed: ["cc-1042", "cc-1043", "none"], default: "none" },
});
if (!("mapping" in compiled)) throw new Error("the test's rules have faults");
const { mapping } = compiled;

const organizationOf = (kind: Kind): { organization?: string } =>
  kind === "auth0" ? { organization: "org_acme" } : {};

function samlProvider(kind: Kind): SamlProvider {
  const { id, label, emailDomains, directory } = providerConfig(kind);
  return {
    id,
    kind,
    label,
    directory,
    emailDomains,
    organization: undefined,
    ...organizationOf(kind),
    protocol: "saml",
    issuer: kind === "entra" ? `https://sts.windows.net/${TENANT}/` : `urn:idp:${kind}`,
    claimsMaxAgeSeconds: 36_000,
    spEntityId: `${ADDRESS}/metadata`,
    entryPoint: "https://idp.acme.example/sso",
    certificates: [key.certificate],
    metadata: undefined,
    requestBinding: "HTTP-Redirect",
    wantResponseSigned: true,
    forceAuthn: false,
    subjectClaim: kind === "okta" || kind === "generic" ? "userId" : undefined,
  };
}

type Outcome = { readonly refused: string } | { readonly who: object };

async function outcome(provider: ProviderConfig, claims: () => Promise<Record<string, JsonValue>>): Promise<Outcome> {
  try {
    const identity = identityFromClaims(provider, await claims(), claimsRead(mapping, provider.id), NOW);
    const { directory, subject, email } = identity;
    const sessionName = roleSessionName(identity);
    try {
      return { who: { directory, subject, email, sessionName, tags: mapTags(mapping, identity).tags } };
    } catch (error) {
      if (error instanceof Refusal) return { who: { directory, subject, email, sessionName, refused: error.code } };
      throw error;
    }
  } catch (error) {
    if (error instanceof Refusal) return { refused: error.code };
    throw error;
  }
}

function byOidc(kind: Kind, of: Person): Promise<Outcome> {
  const claims = idToken(kind, of);
  return outcome(providerConfig(kind, organizationOf(kind)), () => Promise.resolve(claims));
}

function bySaml(client: SamlClient, provider: SamlProvider, of: Person): Promise<Outcome> {
  const pending = { requestId: "_request-1", requestedAt: NOW };
  const response = signedResponse(
    {
      issuer: provider.issuer,
      acs: `${ADDRESS}/acs`,
      audience: provider.spEntityId,
      inResponseTo: pending.requestId,
      // What a provider sends that nobody has set: no part of who it is.
      nameId: of.email,
      nameIdFormat: "urn:oasis:names:tc:SAML:1.1:nameid-format:emailAddress",
      attributes: attributes(provider.kind, of),
      sessionIndex: "session-1",
      now: NOW,
    },
    key,
  );
  const posted = Buffer.from(response).toString("base64");
  return outcome(provider, async () => (await client.finish(posted, pending)).claims);
}

const HONEST: Person = {
  id: "0123456789ab",
  email: "jane@acme.example",
  emailVerified: true,
  guest: false,
  groups: ["bedrock-search"],
  inTooManyGroups: false,
  costCentre: "cc-1042",
  organization: "org_acme",
};

/** Whatever is generated: each of these comes once. */
const FOREIGN = { email: "jane@evil.example" };
const EXAMPLES: Readonly<Record<Kind, readonly Partial<Person>[]>> = {
  okta: [{}, FOREIGN, { emailVerified: false }, { inTooManyGroups: true }],
  entra: [{}, FOREIGN, { guest: true }, { inTooManyGroups: true }],
  auth0: [{}, FOREIGN, { emailVerified: false }, { organization: "org_evil" }],
  generic: [{}, FOREIGN, { emailVerified: false }],
};

/** How people fared, by kind: a property that only ever sees refusals shows nothing. */
const seen = new Map<string, number>();

test.each(KINDS)("%s: one person is one person, with the same tags or the same refusal", async (kind) => {
  const provider = samlProvider(kind);
  const client = samlClient(provider, { address: ADDRESS, keys, allowLoopbackHttp: false, now: () => NOW });
  await fc.assert(
    fc.asyncProperty(person, async (generated) => {
      // An email that is not the UPN: Entra ID has no word for it in SAML, where the email domains are the statement.
      const of = kind === "entra" ? { ...generated, emailVerified: true } : generated;
      const [oidc, saml] = [await byOidc(kind, of), await bySaml(client, provider, of)];
      expect(saml).toEqual(oidc);
      const fared = `${kind} ${"refused" in saml ? saml.refused : "in"}`;
      seen.set(fared, (seen.get(fared) ?? 0) + 1);
    }),
    { numRuns: 80, examples: EXAMPLES[kind].map((over) => [{ ...HONEST, ...over }]) },
  );
});

const FARED = [
  ...KINDS.flatMap((kind) => [`${kind} in`, `${kind} email_domain`]),
  ...["okta", "auth0", "generic"].map((kind) => `${kind} email_unverified`),
  "okta groups_overage",
  "entra groups_overage",
  "entra guest_refused",
  "auth0 tenant_mismatch",
];

test("the people of the property were taken and refused for every reason", () => {
  expect([...seen.keys()]).toEqual(expect.arrayContaining(FARED));
});
