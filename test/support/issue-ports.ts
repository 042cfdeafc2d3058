import { randomUUID } from "node:crypto";
import type { AuditEvent } from "../../src/flow/audit-event.ts";
import { Refusal } from "../../src/flow/errors.ts";
import { Exchanges } from "../../src/flow/exchange.ts";
import { sessionArnOf, type FederationClaims } from "../../src/flow/federation-token.ts";
import type { IssuePorts, StsExchange } from "../../src/flow/issue.ts";
import type { LedgerPort, StsSession } from "../../src/flow/ports.ts";
import { mapTags } from "../../src/flow/tags.ts";

/** A ledger in memory that can be told to fail, and that writes down in which order things happened. */
export interface MemoryLedger extends LedgerPort {
  readonly rows: AuditEvent[];
  /** Runs before each append; what it throws is the append's rejection. */
  beforeAppend: (event: AuditEvent) => void | Promise<void>;
}

export function ledgerDown(): Refusal {
  return new Refusal("ledger_unavailable", "the disk is full");
}

export function memoryLedger(names: Readonly<Record<string, string>>, story: string[] = []): MemoryLedger {
  const bound = new Map(Object.entries(names));
  const key = (person: { directory: string; subject: string }): string => `${person.directory} ${person.subject}`;
  const ledger: MemoryLedger = {
    rows: [],
    beforeAppend: () => undefined,
    async append(event) {
      await ledger.beforeAppend(event);
      ledger.rows.push(structuredClone(event));
      story.push(event.type);
      return { seq: ledger.rows.length };
    },
    sessionNameOf: (person) => Promise.resolve(bound.get(key(person))),
    async bind(person, sessionName, event) {
      const held = bound.get(key(person));
      if (held !== undefined) return held;
      if ([...bound.values()].includes(sessionName)) throw new Refusal("email_taken", "the name is another person's");
      await ledger.append(event);
      bound.set(key(person), sessionName);
      return sessionName;
    },
  };
  return ledger;
}

/** Ports in memory around `ledger`; `story` gets "sign" and "sts" beside the ledger's rows, in the order in which they came. */
export function memoryPorts(
  ledger: MemoryLedger,
  story: string[],
  now: () => number,
): IssuePorts & { signed: FederationClaims[] } {
  const signed: FederationClaims[] = [];
  return {
    now,
    ledger,
    refreshClaims: () => Promise.reject(new Refusal("claims_expired", "the provider gave no refresh token")),
    mapTags,
    signed,
    exchanges: new Exchanges<StsExchange>(),
    requireLive: () => Promise.resolve(),
    sign: (claims) => {
      story.push("sign");
      signed.push(claims);
      return Promise.resolve({ text: `jwt-${claims.jti}`, sha256: "ab".repeat(32), keyId: "key-1" });
    },
    assumeRole: ({ roleArn, sessionName }) => {
      story.push("sts");
      return Promise.resolve(stsSession(roleArn, sessionName, now()));
    },
  };
}

export function stsSession(roleArn: string, sessionName: string, now: number): StsSession {
  return {
    credentials: {
      accessKeyId: `ASIA${randomUUID().slice(0, 8).toUpperCase()}`,
      secretAccessKey: "a-secret-access-key",
      sessionToken: "a-session-token",
      expiration: new Date(now + 3_600_000),
    },
    sessionArn: sessionArnOf(roleArn, sessionName),
    sourceIdentity: sessionName,
    packedPolicySize: 25,
    requestId: "sts-request-1",
  };
}
