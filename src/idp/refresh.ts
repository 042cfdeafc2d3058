import { setTimeout as delay } from "node:timers/promises";
import type { OidcProvider } from "../config/config.ts";
import { asRefusal, Refusal } from "../flow/errors.ts";
import { requireSamePerson, type RefreshClaims } from "../flow/freshness.ts";
import type { Identity } from "../flow/identity.ts";
import { identityFromClaims } from "./identity.ts";
import type { OidcClient } from "./oidc.ts";
import type { HeldGrant, ProviderGrants } from "./provider-grants.ts";

/** Together a second longer than another process's question may take. */
const LOOK_AGAIN_MS = 200;
const MOST_LOOKS = 30;

/** So long a refusal is everybody's answer, so that an impatient program does not become the provider's load. */
const REFUSAL_COUNTS_MS = 5_000;

/** A provider that can be asked again. */
export interface Connection {
  readonly provider: OidcProvider;
  readonly client: Pick<OidcClient, "refresh">;
  /** The claims that rules read for this provider now: the mapping may be reloaded. */
  readonly paths: () => Iterable<string>;
}

export interface RefreshParts {
  readonly connections: readonly Connection[];
  readonly grants: ProviderGrants;
  /** Records that the provider has ended a sign-in; the token is dropped when it is durable. Called once for each. */
  readonly onRevoked: (identity: Identity) => Promise<void>;
  /** Epoch milliseconds. */
  readonly now: () => number;
  /** Resolves when it is time to look again whether another process has an answer; default: after 200 ms. */
  readonly pause?: () => Promise<void>;
}

type Latest = NonNullable<HeldGrant["latest"]>;

/**
 * Law 6's question to the provider, by the refresh token of the sign-in: one at a time for each sign-in across all
 * processes on one store, whose answer is everybody's. The answer meets the checks of a sign-in. A refusal leaves the
 * sign-in as it was, except where the provider says that the grant is gone.
 */
export function claimsRefresher(parts: RefreshParts): RefreshClaims {
  const { pause = () => delay(LOOK_AGAIN_MS) } = parts;
  const underWay = new Map<string, Promise<Latest | undefined>>();

  /** One question for all callers of this process; undefined while another process asks. */
  function askOnce(identity: Identity, refreshId: string, notBefore: number): Promise<Latest | undefined> {
    const open = underWay.get(refreshId);
    if (open) return open;
    const asking = parts.grants
      .alone(identity, () => ask(parts, identity, notBefore))
      .finally(() => underWay.delete(refreshId));
    underWay.set(refreshId, asking);
    return asking;
  }

  return async (identity, notBefore) => {
    const { refreshId } = identity;
    if (refreshId === undefined) throw new Refusal("claims_expired", "the provider gave no refresh token");
    for (let looks = 0; looks < MOST_LOOKS; looks += 1) {
      const held = await parts.grants.find(identity);
      const latest = latestOf(parts, held, notBefore) ?? (await askOnce(identity, refreshId, notBefore));
      if (latest) return { ...identity, ...latest };
      await pause();
    }
    throw new Refusal("refresh_under_way", "another process has been asking the provider for too long");
  };
}

/** What was said at `notBefore` or later; undefined: nothing yet. Throws the refusal that counts for everybody now. */
function latestOf({ now }: RefreshParts, { latest, refused }: HeldGrant, notBefore: number): Latest | undefined {
  if (latest && latest.claimsAt >= notBefore) return latest;
  if (refused && now() < refused.at + REFUSAL_COUNTS_MS) {
    throw new Refusal(refused.code, "as the provider's answer of a moment ago");
  }
  return undefined;
}

/** With the turn taken: whoever had it before may have brought the answer already. */
async function ask(parts: RefreshParts, identity: Identity, notBefore: number): Promise<Latest> {
  const { grants, now } = parts;
  let held = await grants.find(identity);
  const known = latestOf(parts, held, notBefore);
  if (known) return known;
  const keep = async (change: Partial<HeldGrant>): Promise<void> => {
    held = { ...held, ...change };
    await grants.write(identity, held);
  };
  try {
    const latest = await latestClaims(parts, identity, held, (refreshToken) => keep({ refreshToken }));
    await keep({ latest });
    return latest;
  } catch (error) {
    const { code } = asRefusal(error);
    if (code === "sign_in_revoked") await revoke(parts, identity, held);
    else if (code !== "store_unavailable") await keep({ refused: { code, at: now() } });
    throw error;
  }
}

/** The provider's answer, checked as at a sign-in. */
async function latestClaims(
  { connections, now }: RefreshParts,
  identity: Identity,
  held: HeldGrant,
  rotated: (refreshToken: string) => Promise<void>,
): Promise<Latest> {
  const connection = connections.find(({ provider }) => provider.id === identity.provider);
  if (!connection) throw new Refusal("claims_expired", "the provider is no longer configured");
  const claimsAt = now();
  const paths = [...connection.paths()];
  const claims = await connection.client.refresh(held, paths, rotated);
  const fresh = identityFromClaims(connection.provider, claims, paths, claimsAt);
  requireSamePerson(identity, fresh);
  return { claims: fresh.claims, claimsAt };
}

/** Recorded first: what the ledger doesn't know yet is asked and found out again. */
async function revoke({ grants, onRevoked }: RefreshParts, identity: Identity, used: HeldGrant): Promise<void> {
  const { refreshToken } = await grants.find(identity);
  // A process that slept through its turn shows a token that another one has spent since.
  if (refreshToken !== used.refreshToken) throw new Refusal("refresh_under_way", "the refresh token was replaced");
  await onRevoked(identity);
  await grants.end(identity);
}
