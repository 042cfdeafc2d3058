import canonicalize from "canonicalize";
import type { JsonValue, KeptClaims } from "../flow/identity.ts";
import { refuse } from "./claim-rules.ts";

/** Kept claims stand in every session, grant and ledger row of the person. */
const MAX_BYTES = 64 * 1024;
const MAX_ENTRIES = 1_000;
const MAX_DEPTH = 8;

/**
 * Returns where the kept claims are small enough to keep: 64 KiB of canonical JSON (RFC 8785) together, lists of 1,000
 * entries, 8 levels. Throws `claim_too_large`, or `claim_type` for what canonical JSON can't hold.
 */
export function boundClaims(kept: KeptClaims): void {
  for (const [path, value] of Object.entries(kept)) boundValue(path, value, 1);
  if (Buffer.byteLength(canonicalize(kept) ?? "") > MAX_BYTES) {
    refuse("claim_too_large", `the claims that rules read are more than ${MAX_BYTES} bytes together`);
  }
}

/** Goes at most {@link MAX_DEPTH} levels down, so that no nesting can exhaust the stack. */
function boundValue(path: string, value: JsonValue, depth: number): void {
  if (typeof value === "string" ? !value.isWellFormed() : typeof value === "number" && !Number.isFinite(value)) {
    refuse("claim_type", `the claim ${path} holds text or a number that is not valid`);
  }
  if (value === null || typeof value !== "object") return;
  if (depth > MAX_DEPTH) refuse("claim_too_large", `the claim ${path} is nested more than ${MAX_DEPTH} levels deep`);
  const entries = Object.entries(value);
  if (entries.length > MAX_ENTRIES) refuse("claim_too_large", `the claim ${path} has more than ${MAX_ENTRIES} entries`);
  for (const [name, entry] of entries) {
    if (!name.isWellFormed()) refuse("claim_type", `the claim ${path} has a member whose name is not valid text`);
    boundValue(path, entry, depth + 1);
  }
}
