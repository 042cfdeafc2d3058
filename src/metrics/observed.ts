import type { SignFederationToken } from "../flow/federation-token.ts";
import { asRefusal } from "../flow/errors.ts";
import type { IssuedCredentials, IssueRequest } from "../flow/issue.ts";
import type { AssumeRole, KeyValueStore, LedgerPort } from "../flow/ports.ts";
import type { Metrics } from "./metrics.ts";

/** The ports of the flow, timed and counted from outside: each does what the one that it wraps does, and nothing else. */

export function observedLedger(ledger: LedgerPort, metrics: Metrics): LedgerPort {
  return {
    async append(event) {
      const place = await metrics.timed("ledger_append", () => ledger.append(event));
      metrics.recorded(event);
      return place;
    },
    sessionNameOf: (person) => metrics.timed("ledger_name", () => ledger.sessionNameOf(person)),
    bind: (...binding) => metrics.timed("ledger_bind", () => ledger.bind(...binding)),
  };
}

export function observedStore(store: KeyValueStore, metrics: Metrics): KeyValueStore {
  const timed = <T>(work: () => Promise<T>): Promise<T> => metrics.timed("store", work);
  return {
    get: (key) => timed(() => store.get(key)),
    set: (...value) => timed(() => store.set(...value)),
    add: (...value) => timed(() => store.add(...value)),
    setUnless: (...value) => timed(() => store.setUnless(...value)),
    take: (key) => timed(() => store.take(key)),
    delete: (key) => timed(() => store.delete(key)),
    count: (...value) => timed(() => store.count(...value)),
    // Asked by probes, not by people.
    ping: () => store.ping(),
  };
}

export function observedSigner(sign: SignFederationToken, metrics: Metrics): SignFederationToken {
  return (claims) => metrics.timed("sign", () => sign(claims));
}

export function observedSts(assumeRole: AssumeRole, metrics: Metrics): AssumeRole {
  return async (request) => {
    try {
      return await metrics.timed("sts", () => assumeRole(request));
    } catch (error) {
      metrics.stsFailed(asRefusal(error).code);
      throw error;
    }
  };
}

type Issue = (request: IssueRequest) => Promise<IssuedCredentials>;

export function observedIssue(issue: Issue, metrics: Metrics): Issue {
  return async (request) => {
    const { provider } = request.identity;
    try {
      const issued = await issue(request);
      metrics.issued(provider);
      return issued;
    } catch (error) {
      metrics.notIssued(provider, asRefusal(error).code);
      throw error;
    }
  };
}
