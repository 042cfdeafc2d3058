import type { Identity } from "../../src/flow/identity.ts";
import type { KeyValueStore } from "../../src/flow/ports.ts";
import type { RefreshClaims } from "../../src/flow/freshness.ts";
import { oidcClient, type ProviderGrant } from "../../src/idp/oidc.ts";
import { ProviderGrants } from "../../src/idp/provider-grants.ts";
import { claimsRefresher } from "../../src/idp/refresh.ts";
import type { HostileIdp } from "./hostile-idp.ts";

export const MAX_AGE = 3_600_000;
const SIGN_IN_MAX_AGE = 12 * 3600;

/** One process's way of asking `idp` again. */
export interface Refreshing {
  readonly grants: ProviderGrants;
  readonly refresh: RefreshClaims;
  /** Sign-ins that the provider has ended, as they would stand in the ledger. */
  readonly revoked: Identity[];
  /** Runs before one is recorded; what it throws is the record's failure. */
  beforeRecord: () => void;
}

export interface RefreshingOptions {
  readonly now: () => number;
  readonly pause?: () => Promise<void>;
}

export function refreshing(idp: HostileIdp, store: KeyValueStore, { now, pause }: RefreshingOptions): Refreshing {
  const grants = new ProviderGrants(store, { signInMaxAgeSeconds: SIGN_IN_MAX_AGE, now });
  const { provider } = idp;
  const redirectUri = `http://127.0.0.1:4400/login/${provider.id}/callback`;
  const client = oidcClient(provider, { redirectUri, allowLoopbackHttp: true, now });
  const process: Refreshing = {
    grants,
    revoked: [],
    beforeRecord: () => undefined,
    refresh: claimsRefresher({
      connections: [{ provider, client, paths: () => ["team"] }],
      grants,
      onRevoked: (identity) => {
        process.beforeRecord();
        process.revoked.push(identity);
        return Promise.resolve();
      },
      now,
      ...(pause && { pause }),
    }),
  };
  return process;
}

export const GRANT: ProviderGrant = { refreshToken: "refresh-token-0", sub: "00u1", nonce: "the nonce" };

/** Who signed in at `idp` an hour and more ago. */
export function staleJane(idp: HostileIdp, now: number): Identity {
  const { id, directory } = idp.provider;
  const at = now - MAX_AGE - 1;
  const claims = { team: "search" };
  return {
    provider: id,
    directory,
    subject: "00u1",
    email: "jane@acme.example",
    claims,
    signedInAt: at,
    claimsAt: at,
  };
}

/** The refresh tokens that were shown to `idp`, in order. */
export function shown(idp: HostileIdp): (string | null)[] {
  return idp.seen.filter(({ path }) => path === "/token").map(({ body }) => body.get("refresh_token"));
}
