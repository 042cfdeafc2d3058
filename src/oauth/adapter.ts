import { errors, type Adapter, type AdapterPayload } from "oidc-provider";
import type { KeyValueStore } from "../flow/ports.ts";
import { hashed, type Grants, type LiveGrant } from "./grants.ts";

type TokenKind = "code" | "access-token" | "refresh-token";

/** How long a record lives at most (seconds). */
export const LONGEST_LIFE = {
  interaction: 600,
  code: 60,
  "access-token": 600,
  "refresh-token": 12 * 3600,
} as const satisfies Record<TokenKind | "interaction", number>;

/**
 * oidc-provider's records in our store, each kind by its own rules. Its sessions are not kept at all: every request of
 * the command line is answered on our own approval page, never silently, and by whoever is signed in there.
 */
export function adapterFactory(store: KeyValueStore, grants: Grants): (model: string) => Adapter {
  return (model) => {
    switch (model) {
      case "Interaction":
        return interactions(store);
      case "Grant":
        return grantRecords(grants);
      case "AuthorizationCode":
        return tokens("code", store, grants);
      case "AccessToken":
        return tokens("access-token", store, grants);
      case "RefreshToken":
        return tokens("refresh-token", store, grants);
      default:
        return nothingKept;
    }
  };
}

const nothingKept: Adapter = {
  upsert: () => Promise.resolve(),
  find: () => Promise.resolve(undefined),
  findByUid: () => Promise.resolve(undefined),
  findByUserCode: () => Promise.resolve(undefined),
  consume: () => Promise.resolve(),
  destroy: () => Promise.resolve(),
  revokeByGrantId: () => Promise.resolve(),
};

function interactions(store: KeyValueStore): Adapter {
  return {
    ...nothingKept,
    upsert: (id, payload, expiresIn = 0) => store.set(interactionKey(id), JSON.stringify(payload), expiresIn),
    find: async (id) => parse(await store.get(interactionKey(id))),
    async destroy(id) {
      // oidc-provider destroys it on the way to the code: of two requests at once, one goes on.
      if ((await store.take(interactionKey(id))) === undefined) throw new errors.SessionNotFound("already answered");
    },
  };
}

/** The approval that waits under `uid`. */
export function interactionKey(uid: string): string {
  return `oauth:interaction:${hashed(uid)}`;
}

function grantRecords(grants: Grants): Adapter {
  return {
    ...nothingKept,
    async upsert(id, payload, expiresIn = 0) {
      await grants.keep(id, "grant", JSON.stringify(payload), expiresIn);
    },
    find: async (id) => parse(await grants.find(id, "grant")),
    // Called only where a code or refresh token came twice: a token that is revoked ends its grant before (policy.ts).
    destroy: (id) => grants.endReused(id),
  };
}

/**
 * Codes and tokens: the record lies with its grant, and `oauth:KIND:HASH` says which grant that is. Of many uses at
 * once one succeeds; every other one ends the grant, with all that the winner gets or has got.
 */
function tokens(kind: TokenKind, store: KeyValueStore, grants: Grants): Adapter {
  const pointer = (id: string): string => pointerKey(kind, id);
  const name = (id: string): string => recordName(kind, id);

  return {
    ...nothingKept,
    async upsert(id, payload, expiresIn = 0) {
      const { grantId } = payload;
      if (grantId === undefined) throw new TypeError(`a ${kind} without a grant`);
      // Not kept where the grant ended under way: the answer then carries a token that was dead from the start.
      const kept = await grants.keep(grantId, name(id), JSON.stringify(payload), expiresIn);
      if (kept) await store.set(pointer(id), grantId, expiresIn);
    },
    async find(id) {
      const grantId = await store.get(pointer(id));
      if (grantId === undefined) return undefined;
      const { record, usedAt } = await grants.findWithUse(grantId, name(id));
      const payload = parse(record);
      return payload && { ...payload, ...(usedAt !== undefined && { consumed: usedAt }) };
    },
    async consume(id) {
      const grantId = await store.get(pointer(id));
      if (grantId === undefined) throw new errors.InvalidGrant(`${kind} not found`);
      // The mark outlives the record, so that a second use is seen for as long as there could be one.
      if (await grants.use(grantId, name(id), LONGEST_LIFE[kind] + 60)) return;
      await grants.endReused(grantId);
      throw new errors.InvalidGrant(`${kind} already used`);
    },
    // `destroy` does nothing: oidc-provider ends the grant as well, and a token that forgot its grant could not.
    revokeByGrantId: (grantId) => grants.endReused(grantId),
  };
}

/**
 * The grant behind an access token, and the token's scopes; undefined unless both live. In two questions to the store:
 * oidc-provider's own way asks five times, and this is the one lookup that every request for credentials makes.
 */
export async function findAccess(
  store: KeyValueStore,
  grants: Grants,
  accessToken: string,
): Promise<{ readonly grant: LiveGrant; readonly scopes: ReadonlySet<string> } | undefined> {
  const grantId = await store.get(pointerKey("access-token", accessToken));
  if (grantId === undefined) return undefined;
  const found = await grants.findWithSubject(grantId, recordName("access-token", accessToken));
  if (found === undefined) return undefined;
  const { exp, scope } = JSON.parse(found.record) as AdapterPayload;
  // In whole seconds, as `exp` was made; a token without one is over as well.
  if (exp === undefined || exp <= Math.floor(Date.now() / 1000)) return undefined;
  return { grant: found.grant, scopes: new Set(scope?.split(" ")) };
}

/** Where it says which grant a code or token belongs to. */
function pointerKey(kind: TokenKind, id: string): string {
  return `oauth:${kind}:${hashed(id)}`;
}

/** Its record among the grant's. */
function recordName(kind: TokenKind, id: string): string {
  return `${kind}:${hashed(id)}`;
}

function parse(text: string | undefined): AdapterPayload | undefined {
  return text === undefined ? undefined : (JSON.parse(text) as AdapterPayload);
}
