import type { Request } from "express";
import type { Config } from "../config/config.ts";
import { MappingRefusal, type MappedTags } from "../flow/tags.ts";
import { Refusal, reason, type ReasonCode } from "../flow/errors.ts";
import type { Identity } from "../flow/identity.ts";
import { signedIn, type SessionSettings } from "./sessions.ts";

/** What the person would be given now, without asking for it; rejects with the Refusal that a request would meet. */
export type Decide = (identity: Identity, grantId?: string) => Promise<MappedTags & { sessionName: string }>;

/** How the browser's person stands with Rolecall at this moment. */
export type Standing =
  | { readonly kind: "anonymous"; /** Why a sign-in that was there counts no more. */ readonly because?: ReasonCode }
  | {
      readonly kind: "accepted";
      readonly identity: Identity;
      readonly decision: Awaited<ReturnType<Decide>>;
    }
  | {
      readonly kind: "refused";
      readonly identity: Identity;
      readonly refusal: Refusal;
      readonly trace: MappedTags["trace"];
    };

/**
 * The browser's person, and what Rolecall would say to a request for credentials now. Somebody whom only another
 * sign-in can help counts as anonymous. Rejects where a part of the broker is down (5xx): that says nothing of the person.
 */
export async function standingOf(req: Request, decide: Decide, settings: SessionSettings): Promise<Standing> {
  const identity = signedIn(req, settings);
  if (identity === undefined) {
    const stale = (req.session as typeof req.session | undefined)?.identity !== undefined;
    return { kind: "anonymous", ...(stale && { because: "sign_in_expired" }) };
  }
  try {
    return { kind: "accepted", identity, decision: await decide(identity) };
  } catch (error) {
    if (!(error instanceof Refusal) || reason(error.code).status >= 500) throw error;
    if (needsSignIn(error.code)) return { kind: "anonymous", because: error.code };
    return { kind: "refused", identity, refusal: error, trace: error instanceof MappingRefusal ? error.trace : [] };
  }
}

function needsSignIn(code: ReasonCode): boolean {
  return reason(code).status === 401 || code === "claim_not_kept";
}

/**
 * When the person has to sign in again (epoch milliseconds), as far as can be told now: the sign-in is too old by then,
 * or, where the provider gave nothing to ask it again with, what was said in it.
 */
export function signInEnds(config: Pick<Config, "providers" | "signInMaxAgeSeconds">, identity: Identity): number {
  const { provider, signedInAt, claimsAt, refreshId } = identity;
  const tooOld = signedInAt + config.signInMaxAgeSeconds * 1000;
  if (refreshId !== undefined) return tooOld;
  const claimsMaxAge = config.providers.find(({ id }) => id === provider)?.claimsMaxAgeSeconds ?? 0;
  return Math.min(tooOld, claimsAt + claimsMaxAge * 1000);
}
