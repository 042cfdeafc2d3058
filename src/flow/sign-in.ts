import type { AuditEvent } from "./audit-event.ts";
import { Refusal, asRefusal } from "./errors.ts";
import type { Identity } from "./identity.ts";
import type { Caller, LedgerPort } from "./ports.ts";
import { roleSessionName } from "./session-name.ts";

/** Who signed in, by a sign-in that is on record: only of such a one may a session or a grant come. */
export type RecordedIdentity = Identity & Required<Pick<Identity, "signIn">>;

/**
 * The last step of every sign-in, whatever the protocol: gives the person a session name (once, for ever) and
 * records the sign-in. Resolves when both are durable; only then may a session begin. Rejects with a Refusal, already
 * recorded as `login.denied`: `email_taken`, `name_moved`, `person_revoked`, `session_revoked` (everybody's sign-ins
 * were ended while this one was under way), or `ledger_unavailable` (which can't be recorded).
 */
export async function completeSignIn(
  ledger: LedgerPort,
  identity: Identity,
  caller: Caller,
): Promise<RecordedIdentity> {
  const who = { ...callerFacts(caller), ...personFacts(identity) };
  try {
    const wanted = roleSessionName(identity);
    const sessionName = await ledger.bind(identity, wanted, {
      type: "identity.bound",
      ...who,
      sessionName: wanted,
      outcome: "success",
    });
    const id = caller.requestId;
    // Its row will be the last one, so by the log's order nothing was revoked after it yet: the clock decides.
    const holder = { ...identity, signIn: { id, seq: Number.MAX_SAFE_INTEGER } };
    const { seq } = await ledger.append(
      { type: "login.succeeded", ...who, claims: identity.claims, sessionName, outcome: "success" },
      holder,
    );
    return { ...identity, signIn: { id, seq } };
  } catch (error) {
    const refusal = asRefusal(error);
    await recordDeniedSignIn(ledger, refusal, caller, identity);
    throw refusal;
  }
}

/**
 * One `login.denied` for a refusal that is tied to a pending sign-in; `about` is as much of the person as is known.
 * Resolves also when the ledger is down: the refusal stands either way, and nothing was granted.
 */
export async function recordDeniedSignIn(
  ledger: LedgerPort,
  refusal: Refusal,
  caller: Caller,
  about: Partial<Identity> & Pick<Identity, "provider">,
): Promise<void> {
  await recordRefusal(ledger, {
    type: "login.denied",
    ...callerFacts(caller),
    ...personFacts(about),
    outcome: "refused",
    reason: refusal.code,
  });
}

/** Appends the event of a refusal; a ledger that is down changes nothing about it, since nothing was granted. */
export async function recordRefusal(ledger: LedgerPort, event: AuditEvent): Promise<void> {
  if (event.reason === "ledger_unavailable") return;
  try {
    await ledger.append(event);
  } catch (error) {
    if (!(error instanceof Refusal && error.code === "ledger_unavailable")) throw error;
  }
}

/** The ledger's keys for where a request came from. */
export function callerFacts(caller: Caller): Pick<AuditEvent, "requestId" | "client" | "address" | "userAgent"> {
  const { requestId, client, address, userAgent } = caller;
  return {
    requestId,
    client,
    ...(address !== undefined && { address }),
    ...(userAgent !== undefined && { userAgent }),
  };
}

/** The ledger's keys for who somebody is, as far as that is known. */
export function personFacts(
  identity: Partial<Identity> & Pick<Identity, "provider">,
): Pick<AuditEvent, "provider" | "directory" | "subject" | "email"> {
  const { provider, directory, subject, email } = identity;
  return {
    provider,
    ...(directory !== undefined && { directory }),
    ...(subject !== undefined && { subject }),
    ...(email !== undefined && { email }),
  };
}

/**
 * A sign-in that was refused on its way back from the provider. `about` is what is known of the person, once the
 * answer was tied to a sign-in pending in this browser; undefined: it was tied to none, and is logged, not recorded.
 */
export class SignInRefusal extends Refusal {
  readonly about: (Partial<Identity> & Pick<Identity, "provider">) | undefined;

  constructor(refusal: Refusal, about: SignInRefusal["about"]) {
    super(refusal.code, refusal.message, { cause: refusal.cause });
    this.about = about;
  }
}
