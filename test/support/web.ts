import { randomUUID } from "node:crypto";
import { once } from "node:events";
import { createServer as createHttpServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import type { Request } from "express";
import { Strategy } from "passport";
import type { Config } from "../../src/config/config.ts";
import type { AuditEvent } from "../../src/flow/audit-event.ts";
import { Refusal, type ReasonCode } from "../../src/flow/errors.ts";
import type { Identity } from "../../src/flow/identity.ts";
import type { LedgerPort } from "../../src/flow/ports.ts";
import { rateLimits } from "../../src/flow/rate-limit.ts";
import { SignInRefusal } from "../../src/flow/sign-in.ts";
import { compileMapping, mapTags, type TagRules } from "../../src/flow/tags.ts";
import type { AuthorizationServer, PendingApproval } from "../../src/http/authorization-server.ts";
import { createServer, type HttpParts } from "../../src/http/server.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import { NO_TRACES } from "../../src/metrics/traces.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { recordingLog, type LogLine } from "./log.ts";

/** The broker's web side on a port of its own, its neighbors small stand-ins that the test can look into. */
export interface Web {
  readonly url: string;
  readonly rows: AuditEvent[];
  readonly logged: readonly LogLine[];
  readonly strategy: StandInStrategy;
  readonly approvals: StandInApprovals;
  close(): Promise<void>;
}

export interface WebChoices {
  readonly config?: Partial<Config>;
  readonly parts?: Partial<HttpParts>;
  readonly identity?: Partial<Identity>;
}

export const RULES: TagRules = {
  team: {
    required: true,
    from: [{ claim: "groups", providers: ["okta"], match: { "bedrock-search": "search" } }, { claim: "department" }],
    allowed: ["search", "ml-platform"],
  },
  "cost-centre": {
    from: [{ claim: "costCenter" }],
    allowed: ["cc-1042", "cc-2000", "unallocated"],
    default: "unallocated",
  },
};

const COOKIE_KEYS = ["a key of the tests"];

/** Starts one, `chosen` for the address that it has. */
export async function startWeb(chosen: WebChoices | ((url: string) => Promise<WebChoices>) = {}): Promise<Web> {
  const server = createHttpServer();
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const choices = typeof chosen === "function" ? await chosen(url) : chosen;
  const ledger = recordingLedger();
  const log = recordingLog();
  const strategy = new StandInStrategy("okta", choices.identity ?? {});
  const approvals = new StandInApprovals();
  const config = webConfig(url, choices.config);
  const app = createServer({
    config,
    store: memoryStore(),
    ledger,
    strategies: [strategy],
    saml: new Map(),
    hasEnded: () => Promise.resolve(false),
    authorizationServer: approvals,
    decide: (identity) => {
      const { tags, trace } = mapTags(config.mapping, identity);
      return Promise.resolve({ tags, trace, sessionName: identity.email.toLowerCase() });
    },
    issue: () => Promise.reject(new Refusal("internal_error", "not issued here")),
    documents: () => ({ discovery: { issuer: `${config.baseUrl}/federation` }, jwks: { keys: [{ kid: "one" }] } }),
    isStopping: () => false,
    cookieKeys: () => COOKIE_KEYS,
    limits: rateLimits(memoryStore(), config.rateLimits, () => undefined),
    metrics: new Metrics({
      version: "test",
      ledger,
      store: memoryStore(),
      keys: () => [],
      keysInForce: () => true,
      mappingVersion: () => config.mapping.version,
      configInForce: () => true,
      now: Date.now,
    }),
    traces: NO_TRACES,
    log,
    ...choices.parts,
  });
  // Express is a request listener, as Node's types have it, though its own say "any".
  server.on("request", app as (req: IncomingMessage, res: unknown) => void);
  return {
    url,
    rows: ledger.rows,
    logged: log.lines,
    strategy,
    approvals,
    close: async () => {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
}

export function webConfig(baseUrl: string, over: Partial<Config> = {}): Config {
  const compiled = compileMapping(RULES);
  if ("faults" in compiled) throw new Error(compiled.faults.map(({ message }) => message).join("; "));
  return {
    environment: "development",
    baseUrl,
    listen: { host: "127.0.0.1", port: 0 },
    trustProxy: 0,
    stateDir: "/nonexistent",
    aws: {
      region: "us-east-1",
      roleArn: "arn:aws:iam::111122223333:role/BedrockShared",
      federation: "web-identity",
      samlProviderArn: undefined,
      audience: "sts.amazonaws.com",
      sessionDurationSeconds: 3600,
      signingAlgorithm: "ES256",
      transitiveTags: [],
      stsEndpoint: undefined,
      kmsEndpoint: undefined,
      models: ["*"],
    },
    providers: [
      {
        id: "okta",
        kind: "okta",
        protocol: "oidc",
        directory: "okta",
        label: "Okta",
        issuer: "https://acme.okta.com",
        clientId: "client",
        clientAuth: { method: "client_secret_basic", secret: "secret" },
        scopes: ["openid", "email"],
        organization: undefined,
        emailDomains: ["acme.example"],
        claimsMaxAgeSeconds: 3600,
      },
    ],
    signInMaxAgeSeconds: 43_200,
    tags: RULES,
    mapping: compiled.mapping,
    stopDelaySeconds: 0,
    rateLimits: { perAddress: 100_000, perAccount: 100_000, signInsUnderWay: 100_000 },
    redisUrl: undefined,
    ledgerUrl: undefined,
    checkpointKey: undefined,
    access: { auditor: [], admin: [], finance: [] },
    source: { sha256: undefined, files: [] },
    ...over,
  };
}

export function recordingLedger(): LedgerPort & { rows: AuditEvent[]; state(): Promise<{ writable: boolean }> } {
  const rows: AuditEvent[] = [];
  const names = new Map<string, string>();
  return {
    rows,
    append: (event) => Promise.resolve({ seq: rows.push(event) }),
    sessionNameOf: ({ directory, subject }) => Promise.resolve(names.get(`${directory} ${subject}`)),
    bind: ({ directory, subject }, sessionName, event) => {
      const key = `${directory} ${subject}`;
      if (!names.has(key)) rows.push(event);
      names.set(key, names.get(key) ?? sessionName);
      return Promise.resolve(names.get(key) ?? sessionName);
    },
    state: () => Promise.resolve({ writable: true }),
  };
}

interface Options {
  readonly step: "begin" | "finish";
  readonly next?: string;
  readonly browser?: string;
}

/** A provider that lets Jane in, or refuses by the code that `?refuse=` of the callback names. */
export class StandInStrategy extends Strategy {
  override readonly name: string;
  // No #private members: passport calls authenticate on an object that only inherits from this one.
  readonly pendingSignIns = new Map<string, { next: string; browser: string }>();
  readonly identity: Partial<Identity>;

  constructor(name: string, identity: Partial<Identity>) {
    super();
    this.name = name;
    this.identity = identity;
  }

  override authenticate(req: Request, options: Options): void {
    if (options.step === "begin") {
      const state = randomUUID();
      this.pendingSignIns.set(state, { next: options.next ?? "/", browser: options.browser ?? "" });
      this.redirect(`https://idp.acme.example/authorize?state=${state}`);
      return;
    }
    const refuse = req.query["refuse"] as ReasonCode | "crash" | undefined;
    const state = req.query["state"] as string;
    const pending = this.pendingSignIns.get(state);
    const refusal = (code: ReasonCode): Refusal => new Refusal(code, `refused: ${code}`);
    if (pending === undefined) {
      this.error(new SignInRefusal(refusal("login_state_unknown"), undefined));
    } else if (pending.browser !== options.browser) {
      this.error(new SignInRefusal(refusal("login_other_browser"), undefined));
    } else if (refuse === "crash") {
      this.error(new TypeError("a fault of the stand-in"));
    } else if (refuse !== undefined) {
      this.error(new SignInRefusal(refusal(refuse), { provider: this.name, email: "jane@acme.example" }));
    } else {
      this.pendingSignIns.delete(state);
      this.success(janeOf(this.name, this.identity), { next: pending.next });
    }
  }
}

export function janeOf(provider: string, over: Partial<Identity> = {}): Identity {
  return {
    provider,
    directory: provider,
    subject: "00u1",
    email: "Jane@acme.example",
    claims: { groups: ["everyone", "bedrock-search"], department: null, costCenter: "cc-1042" },
    signedInAt: Date.now(),
    claimsAt: Date.now(),
    ...over,
  };
}

/** An authorization server with one approval at a time, which says what became of it. */
export class StandInApprovals implements AuthorizationServer {
  pending: PendingApproval | undefined = {
    uid: "u1",
    clientName: "Rolecall command line",
    redirectUri: "http://127.0.0.1:53682/callback",
  };
  approvedFor: Identity | undefined;
  declined = false;

  readonly handle: AuthorizationServer["handle"] = (req, res) => {
    res.end(`authorization server: ${String(req.url)}`);
  };

  pendingApproval(): Promise<PendingApproval | undefined> {
    return Promise.resolve(this.pending);
  }

  approve(_req: IncomingMessage, _res: unknown, identity: Identity): Promise<string> {
    this.approvedFor = identity;
    return Promise.resolve(this.#end("code=c1"));
  }

  decline(): Promise<string> {
    this.declined = true;
    return Promise.resolve(this.#end("error=access_denied"));
  }

  isLive(): Promise<boolean> {
    return Promise.resolve(true);
  }

  grantOf(): Promise<undefined> {
    return Promise.resolve(undefined);
  }

  #end(query: string): string {
    const address = `${this.pending?.redirectUri ?? ""}?${query}`;
    this.pending = undefined;
    return address;
  }
}
