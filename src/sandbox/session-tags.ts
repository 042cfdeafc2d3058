import { z } from "zod";
import { MAX_TAGS } from "../flow/tag-limits.ts";

/** What STS takes from a token or an assertion that it believes. */
export interface FederatedIdentity {
  /** `jti`, or the assertion's ID. */
  readonly tokenId: string | undefined;
  readonly subject: string;
  readonly audience: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly transitiveTagKeys: readonly string[];
  readonly sourceIdentity: string | undefined;
}

const tagText = z.string().regex(/^(?!aws:)[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/iu);

/** Session tags as STS takes them (IAM user guide, "Pass session tags in AWS STS"). */
export const sessionTags = z
  .strictObject({
    // A plain string value is refused.
    principal_tags: z.record(tagText.min(1).max(128), z.tuple([tagText.max(256)])),
    transitive_tag_keys: z.array(z.string()).default([]),
  })
  .refine(({ principal_tags: tags }) => {
    const keys = Object.keys(tags);
    return keys.length <= MAX_TAGS && new Set(keys.map((key) => key.toLowerCase())).size === keys.length;
  })
  .refine((claim) => claim.transitive_tag_keys.every((key) => Object.hasOwn(claim.principal_tags, key)));

/** Tag keys and their one value each. */
export function tagsOf(tags: z.infer<typeof sessionTags> | undefined): Record<string, string> {
  return Object.fromEntries(Object.entries(tags?.principal_tags ?? {}).map(([key, [value]]) => [key, value]));
}

export const sessionName = z.string().regex(/^[\w+=,.@-]{2,64}$/);
export const sourceIdentity = z.string().regex(/^(?!aws:)[\w+=,.@-]{2,64}$/i);
