import type { Config, ProviderConfig } from "../config/config.ts";
import { attributeNamesOf } from "../idp/saml/attribute-names.ts";

/** A claim that this configuration needs of a provider. */
export interface NeededClaim {
  /** As an ID token calls it. */
  readonly name: string;
  /** As the provider's SAML attributes call it. */
  readonly attribute: string;
  /** JSON pointers into it that rules have; SAML can't send such a claim. */
  readonly pointers: readonly string[];
  /** Who reads it, as in "tag team". */
  readonly readBy: readonly string[];
}

/**
 * The claims that rules read for a provider of the kind, in the rules' order, each once. `id`: its ID; undefined where the
 * configuration has none yet: then what rules read for any provider.
 */
export function neededClaims(config: Config, kind: ProviderConfig["kind"], id: string | undefined): NeededClaim[] {
  const needed = new Map<string, NeededClaim & { readonly pointers: string[]; readonly readBy: string[] }>();
  for (const { claim, by } of readings(config, id)) {
    const name = claim.startsWith("/") ? topName(claim) : claim;
    const entry = needed.get(name) ?? { name, attribute: attributeOf(kind, name), pointers: [], readBy: [] };
    needed.set(name, entry);
    if (claim.startsWith("/") && !entry.pointers.includes(claim)) entry.pointers.push(claim);
    if (!entry.readBy.includes(by)) entry.readBy.push(by);
  }
  return [...needed.values()];
}

function readings({ tags, access }: Config, id: string | undefined): { claim: string; by: string }[] {
  const ofTags = Object.entries(tags).flatMap(([key, { from }]) =>
    from
      .filter(({ providers }) => id === undefined || providers === undefined || providers.includes(id))
      .map(({ claim }) => ({ claim, by: `tag ${key}` })),
  );
  const ofAccess = Object.entries(access).flatMap(([role, rules]) =>
    rules
      .filter(({ provider }) => id === undefined || provider === id)
      .map(({ claim }) => ({ claim, by: `access ${role}` })),
  );
  return [...ofTags, ...ofAccess];
}

/** The claim that a JSON pointer (RFC 6901) begins in. */
function topName(pointer: string): string {
  return (pointer.split("/")[1] ?? "").replaceAll("~1", "/").replaceAll("~0", "~");
}

/** What the broker reads as that claim (`attribute-names.ts`); of several, the first. */
export function attributeOf(kind: ProviderConfig["kind"], name: string): string {
  for (const [attribute, claim] of attributeNamesOf(kind)) if (claim === name) return attribute;
  return name;
}
