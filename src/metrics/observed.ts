import type { SignFederationToken } from "../flow/federation-token.ts";
import { asRefusal } from "../flow/errors.ts";
import type { RefreshClaims } from "../flow/freshness.ts";
import type { IssuedCredentials, IssuePorts, IssueRequest } from "../flow/issue.ts";
import type { AssumeRole, KeyValueStore, LedgerPort } from "../flow/ports.ts";
import type { Steps } from "./steps.ts";

/** The ports of the flow, timed and counted from outside: each does what the one that it wraps does, and nothing else. */

export function observedLedger(ledger: LedgerPort, steps: Steps): LedgerPort {
  return {
    async append(event, holder) {
      const place = await steps.timed("ledger_append", () => ledger.append(event, holder), { detail: event.type });
      steps.metrics.recorded(event);
      return place;
    },
    sessionNameOf: (holder) => steps.timed("ledger_name", () => ledger.sessionNameOf(holder)),
    bind: (...binding) => steps.timed("ledger_bind", () => ledger.bind(...binding)),
  };
}

export function observedStore(store: KeyValueStore, steps: Steps): KeyValueStore {
  const timed = <T>(detail: keyof KeyValueStore, work: () => Promise<T>): Promise<T> =>
    steps.timed("store", work, { detail });
  return {
    get: (key) => timed("get", () => store.get(key)),
    getAll: (keys) => timed("getAll", () => store.getAll(keys)),
    set: (...value) => timed("set", () => store.set(...value)),
    add: (...value) => timed("add", () => store.add(...value)),
    setUnless: (...value) => timed("setUnless", () => store.setUnless(...value)),
    take: (key) => timed("take", () => store.take(key)),
    delete: (key) => timed("delete", () => store.delete(key)),
    count: (...value) => timed("count", () => store.count(...value)),
    // Asked by probes, not by people.
    ping: () => store.ping(),
  };
}

export function observedRefresh(refreshClaims: RefreshClaims, steps: Steps): RefreshClaims {
  return (identity, notBefore) => {
    const { provider } = identity;
    return steps.timed("claims_refresh", () => refreshClaims(identity, notBefore), { provider });
  };
}

export function observedMapping(mapTags: IssuePorts["mapTags"], steps: Steps): IssuePorts["mapTags"] {
  return (mapping, identity) => steps.timedNow("mapping", () => mapTags(mapping, identity));
}

export function observedSigner(sign: SignFederationToken, steps: Steps): SignFederationToken {
  return (claims, durationSeconds) => steps.timed("sign", () => sign(claims, durationSeconds));
}

export function observedSts(assumeRole: AssumeRole, steps: Steps): AssumeRole {
  return async (request) => {
    try {
      return await steps.timed("sts", () => assumeRole(request));
    } catch (error) {
      steps.metrics.stsFailed(asRefusal(error).code);
      throw error;
    }
  };
}

type Issue = (request: IssueRequest) => Promise<IssuedCredentials>;

export function observedIssue(issue: Issue, steps: Steps): Issue {
  return async (request) => {
    const { provider } = request.identity;
    try {
      const issued = await steps.timed("issue", () => issue(request), { provider });
      steps.metrics.issued(provider);
      return issued;
    } catch (error) {
      steps.metrics.notIssued(provider, asRefusal(error).code);
      throw error;
    }
  };
}
