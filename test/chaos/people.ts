import type { StandInId } from "../../src/sandbox/idp.ts";

/** Somebody who works while things break, and what they must be billed as: written down by hand, not worked out. */
export interface PersonOfChaos {
  readonly provider: StandInId;
  readonly name: string;
  readonly email: string;
  readonly tags: Readonly<Record<string, string>>;
}

const search = "search";
const ml = "ml-platform";

/** Jane works on two machines. */
export const PEOPLE: readonly PersonOfChaos[] = [
  { provider: "okta", name: "Jane", email: "jane@acme.example", tags: { team: search, "cost-centre": "cc-1042" } },
  { provider: "okta", name: "Jane", email: "jane@acme.example", tags: { team: search, "cost-centre": "cc-1042" } },
  { provider: "okta", name: "Omar", email: "omar@acme.example", tags: { team: ml, "cost-centre": "cc-1077" } },
  {
    provider: "entra",
    name: "Priya",
    email: "priya@emea.acme.example",
    tags: { team: search, "cost-centre": "cc-2010" },
  },
  { provider: "entra", name: "Tomas", email: "tomas@emea.acme.example", tags: { team: ml, "cost-centre": "cc-2020" } },
  { provider: "auth0", name: "Ana", email: "ana@labs.acme.example", tags: { team: search, "cost-centre": "cc-4001" } },
  { provider: "auth0", name: "Ben", email: "ben@labs.acme.example", tags: { team: ml, "cost-centre": "cc-4002" } },
];
