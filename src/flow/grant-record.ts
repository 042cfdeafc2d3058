import type { ReasonCode } from "./errors.ts";
import type { Identity } from "./identity.ts";
import type { Caller, LedgerPort } from "./ports.ts";
import { callerFacts, personFacts, recordRefusal } from "./sign-in.ts";

/** Who holds a grant of the authorization server; the identity where it is still known. */
interface Holder {
  readonly clientId: string;
  readonly identity?: Identity;
}

/** `grant.reused`: a code or refresh token came a second time, and all that came from its grant has ended. */
export async function recordReuse(ledger: LedgerPort, { clientId, identity }: Holder, caller?: Caller): Promise<void> {
  await recordRefusal(ledger, {
    type: "grant.reused",
    ...(caller && callerFacts(caller)),
    client: clientId,
    ...(identity && personFacts(identity)),
    outcome: "refused",
    reason: "grant_reused",
  });
}

/** `credentials.denied` for a live grant whose request to the token endpoint was refused. */
export async function recordRefusedToken(
  ledger: LedgerPort,
  { clientId, identity }: Required<Holder>,
  caller: Caller,
  reason: ReasonCode,
): Promise<void> {
  await recordRefusal(ledger, {
    type: "credentials.denied",
    ...callerFacts({ ...caller, client: clientId }),
    ...personFacts(identity),
    outcome: "refused",
    reason,
  });
}

/** `session.revoked`: the provider has ended a sign-in. Rejects where that can't be recorded. */
export async function recordRevocation(ledger: LedgerPort, identity: Identity): Promise<void> {
  await ledger.append({
    type: "session.revoked",
    ...personFacts(identity),
    outcome: "success",
    reason: "sign_in_revoked",
    actor: identity.provider,
  });
}
