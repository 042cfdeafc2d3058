import type { ProviderConfig } from "../config/config.ts";
import type { ReasonCode } from "../flow/errors.ts";
import type { JsonValue } from "../flow/identity.ts";

/** Somebody of the made-up company, with the claims that their directory would send. */
export interface Person {
  /** `sub`. */
  readonly subject: string;
  readonly name: string;
  readonly email: string;
  /** What the sign-in page says of them. */
  readonly note: string;
  /** Why their sign-in, or later their credentials, are refused; left out: they get some. */
  readonly refused?: ReasonCode;
  /** All claims but `sub`. */
  readonly claims: Readonly<Record<string, JsonValue>>;
}

/** One of the company's three directories: three branches, each with a mail domain of its own. */
export interface Directory {
  readonly kind: Exclude<ProviderConfig["kind"], "generic">;
  readonly label: string;
  readonly emailDomain: string;
  readonly people: readonly Person[];
}

export const ENTRA_TENANT = "3f6d1c0a-9b42-4f6e-8a57-c1d2e3f4a5b6";

/** Entra ID names groups by their object IDs. */
export const ENTRA_GROUPS = {
  search: "5c1f3a52-6a0e-4c1b-9a52-0d2f7d3a9b10",
  mlPlatform: "8e0b7c64-41f2-4d6c-8f1d-2b6c9e5a7d21",
} as const;

type Trait = Pick<Person, "name" | "note" | "refused" | "claims"> & { readonly id: string };

export const DIRECTORIES = {
  okta: directory("okta", "Okta", "acme.example", oktaPerson, [
    {
      id: "1a2b3c4d5e6f7g8h9i0j",
      name: "Jane Doe",
      note: "Search",
      claims: { groups: ["Everyone", "bedrock-search"], department: "R&D / search", costCenter: "cc-1042" },
    },
    {
      id: "2b3c4d5e6f7g8h9i0j1a",
      name: "Omar Haddad",
      note: "ML platform",
      claims: { groups: ["Everyone", "bedrock-ml"], department: "R&D / ml-platform", costCenter: "cc-1077" },
    },
    {
      id: "3c4d5e6f7g8h9i0j1a2b",
      name: "Nora Lind",
      note: "in no team's group",
      refused: "tag_missing",
      claims: { groups: ["Everyone"], department: "Legal", costCenter: "cc-3001" },
    },
    {
      id: "4d5e6f7g8h9i0j1a2b3c",
      name: "Luis Vega",
      note: "email not verified",
      refused: "email_unverified",
      claims: { groups: ["Everyone", "bedrock-search"], costCenter: "cc-1042", email_verified: false },
    },
  ]),
  entra: directory("entra", "Entra ID", "emea.acme.example", entraPerson, [
    {
      id: "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01",
      name: "Priya Nair",
      note: "Search",
      claims: { groups: [ENTRA_GROUPS.search], roles: ["Bedrock.User"], costCenter: "cc-2010" },
    },
    {
      id: "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e02",
      name: "Tomas Novak",
      note: "ML platform",
      claims: { groups: [ENTRA_GROUPS.mlPlatform], roles: ["Bedrock.User"], costCenter: "cc-2020" },
    },
    {
      id: "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e03",
      name: "Gail Visitor",
      note: "guest of another company",
      refused: "guest_refused",
      claims: {
        groups: [ENTRA_GROUPS.search],
        acct: 1,
        upn: "gail_partner.example#EXT#@emea.acme.example",
        email: "gail@partner.example",
      },
    },
    {
      id: "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e04",
      name: "Olga Petrova",
      note: "in more than 200 groups",
      refused: "groups_overage",
      claims: {
        costCenter: "cc-2010",
        _claim_names: { groups: "src1" },
        _claim_sources: { src1: { endpoint: "https://graph.windows.net/never-to-be-fetched/getMemberObjects" } },
      },
    },
  ]),
  auth0: directory("auth0", "Auth0", "labs.acme.example", auth0Person, [
    {
      id: "655f1c2d3e4f5a6b7c8d9e01",
      name: "Ana Silva",
      note: "Search",
      claims: { "https://acme.example/team": "search", "https://acme.example/cost_center": "cc-4001" },
    },
    {
      id: "655f1c2d3e4f5a6b7c8d9e02",
      name: "Ben Okafor",
      note: "ML platform",
      claims: { "https://acme.example/team": "ml-platform", "https://acme.example/cost_center": "cc-4002" },
    },
    {
      id: "655f1c2d3e4f5a6b7c8d9e03",
      name: "Uma Reyes",
      note: "email not verified",
      refused: "email_unverified",
      claims: { "https://acme.example/team": "search", email_verified: false },
    },
  ]),
} as const satisfies Record<string, Directory>;

function directory(
  kind: Directory["kind"],
  label: string,
  emailDomain: string,
  person: (trait: Trait, email: string) => Person,
  traits: readonly Trait[],
): Directory {
  const people = traits.map((trait) => {
    const [firstName = ""] = trait.name.split(" ");
    return person(trait, `${firstName.toLowerCase()}@${emailDomain}`);
  });
  return { kind, label, emailDomain, people };
}

function oktaPerson({ id, claims, ...trait }: Trait, email: string): Person {
  const standard = { name: trait.name, preferred_username: email, email, email_verified: true };
  return { ...trait, subject: `00u${id}`, email, claims: { ...standard, ...claims } };
}

/** `sub` differs from application to application; `tid` and `oid` say who it is. */
function entraPerson({ id, claims, ...trait }: Trait, email: string): Person {
  const standard = {
    ver: "2.0",
    tid: ENTRA_TENANT,
    oid: id,
    name: trait.name,
    preferred_username: email,
    upn: email,
    email,
    xms_edov: true,
    acct: 0,
  };
  const all = { ...standard, ...claims };
  return { ...trait, subject: `pairwise-${id}`, email: all.email, claims: all };
}

function auth0Person({ id, claims, ...trait }: Trait, email: string): Person {
  const standard = { name: trait.name, nickname: email.split("@", 1)[0] ?? "", email, email_verified: true };
  return { ...trait, subject: `auth0|${id}`, email, claims: { ...standard, ...claims } };
}
