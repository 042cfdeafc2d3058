import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from "prom-client";
import type { AuditEvent } from "../flow/audit-event.ts";
import type { ReasonCode } from "../flow/errors.ts";

/** What an issue (itself the first) or a sign-in is made of, each timed by itself. */
export type Step =
  | "issue"
  | "claims_refresh"
  | "mapping"
  | "ledger_name"
  | "ledger_append"
  | "ledger_bind"
  | "sign"
  | "sts"
  | "store"
  | "idp_begin"
  | "idp_finish";

interface KeyInForce {
  readonly key: { readonly use: string; readonly kid: string; readonly createdAt: string };
  readonly state: string;
}

/** History: keys that nobody takes any more. */
const PAST: ReadonlySet<string> = new Set(["dropped", "revoked"]);

/** What is asked at each scrape, in bounded time. */
export interface MetricSources {
  readonly version: string;
  readonly ledger: { state(): Promise<{ writable: boolean }> };
  readonly store: { ping(): Promise<void> };
  /** Every key there is, as it stands now. */
  readonly keys: () => readonly KeyInForce[];
  /** True while the keys in force are those of the file. */
  readonly keysInForce: () => boolean;
  /** Of the mapping that is in force. */
  readonly mappingVersion: () => string;
  /** True while the configuration's tags and access are in force as the files say. */
  readonly configInForce: () => boolean;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/** One answered request, without anything that its sender chose. */
export interface AnsweredRequest {
  readonly method: string;
  /** The route's pattern, never the path itself. */
  readonly route: string;
  readonly status: number;
  readonly seconds: number;
  /** Why it was refused by a page or the API; undefined: it was not. */
  readonly refusal: ReasonCode | undefined;
}

/** Seconds. Steps take from a tenth of a millisecond (the rules, a key of Redis) to fifteen seconds (STS, given up). */
const STEP_BUCKETS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];
const REQUEST_BUCKETS = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15];

/**
 * The figures of one broker, in a registry of their own. Label values come from code and configuration alone (reason
 * codes, provider IDs, tag keys, route patterns), so that nobody outside can make new series, and no person is in them.
 */
export class Metrics {
  readonly #registry = new Registry();
  readonly #credentials = this.#counter("rolecall_credentials_total", "Requests for credentials, by their end", [
    "provider",
    "outcome",
    "reason",
  ]);
  readonly #events = this.#counter("rolecall_ledger_events_total", "Rows of the ledger that this broker wrote", [
    "type",
    "provider",
    "reason",
  ]);
  readonly #refusals = this.#counter("rolecall_refusals_total", "Requests refused by pages and API, recorded or not", [
    "reason",
  ]);
  readonly #tags = this.#counter("rolecall_tags_issued_total", "Tags of issued sessions, by what gave the value", [
    "tag",
    "source",
  ]);
  readonly #stsErrors = this.#counter("rolecall_sts_errors_total", "Calls to STS that failed for good", ["reason"]);
  readonly #limited = this.#counter("rolecall_rate_limited_total", "Requests over a limit", ["limit"]);
  readonly #requests = this.#counter("rolecall_http_requests_total", "Answered requests", [
    "method",
    "route",
    "status",
  ]);
  readonly #steps = new Histogram({
    name: "rolecall_step_duration_seconds",
    help: "Time of each step, by its end",
    labelNames: ["step", "outcome"],
    buckets: STEP_BUCKETS,
    registers: [this.#registry],
  });
  readonly #latency = new Histogram({
    name: "rolecall_http_request_duration_seconds",
    help: "Time from a request to its whole answer",
    labelNames: ["route"],
    buckets: REQUEST_BUCKETS,
    registers: [this.#registry],
  });

  constructor(sources: MetricSources) {
    collectDefaultMetrics({ register: this.#registry });
    this.#gauge("rolecall_build_info", "Always 1: which version runs", ["version"], (gauge) => {
      gauge.set({ version: sources.version }, 1);
    });
    this.#gauge("rolecall_ledger_writable", "1 where the ledger can be written now", [], async (gauge) => {
      gauge.set(await asNumber(sources.ledger.state().then(({ writable }) => writable)));
    });
    this.#gauge("rolecall_store_up", "1 where the store of sign-ins and sessions answers now", [], async (gauge) => {
      gauge.set(await asNumber(sources.store.ping().then(() => true)));
    });
    this.#gauge("rolecall_key_age_seconds", "Age of each key in use", ["use", "kid", "state"], (gauge) => {
      for (const { key, state } of sources.keys().filter((it) => !PAST.has(it.state))) {
        gauge.set({ use: key.use, kid: key.kid, state }, (sources.now() - Date.parse(key.createdAt)) / 1000);
      }
    });
    this.#gauge("rolecall_keys_last_reload_successful", "0 where a changed keys.json was not taken", [], (gauge) => {
      gauge.set(sources.keysInForce() ? 1 : 0);
    });
    this.#gauge("rolecall_mapping_info", "Always 1: digest of the tag rules in force", ["version"], (gauge) => {
      gauge.set({ version: sources.mappingVersion() }, 1);
    });
    this.#gauge(
      "rolecall_config_last_reload_successful",
      "0 where a changed configuration was not taken",
      [],
      (gauge) => {
        gauge.set(sources.configInForce() ? 1 : 0);
      },
    );
  }

  /** In the text format that Prometheus scrapes. */
  async exposition(): Promise<{ readonly contentType: string; readonly text: string }> {
    return { contentType: this.#registry.contentType, text: await this.#registry.metrics() };
  }

  /** `work`'s own answer; how long it took is counted either way. */
  async timed<T>(step: Step, work: () => Promise<T>): Promise<T> {
    const stop = this.#steps.startTimer({ step });
    try {
      const answer = await work();
      stop({ outcome: "ok" });
      return answer;
    } catch (error) {
      stop({ outcome: "error" });
      throw error;
    }
  }

  /** The same for what does not wait. */
  timedNow<T>(step: Step, work: () => T): T {
    const stop = this.#steps.startTimer({ step });
    try {
      const answer = work();
      stop({ outcome: "ok" });
      return answer;
    } catch (error) {
      stop({ outcome: "error" });
      throw error;
    }
  }

  issued(provider: string): void {
    this.#credentials.inc({ provider, outcome: "issued", reason: "" });
  }

  notIssued(provider: string, reason: ReasonCode): void {
    this.#credentials.inc({ provider, outcome: "refused", reason });
  }

  stsFailed(reason: ReasonCode): void {
    this.#stsErrors.inc({ reason });
  }

  rateLimited(limit: string): void {
    this.#limited.inc({ limit });
  }

  recorded({ type, provider, reason, trace = [] }: AuditEvent): void {
    this.#events.inc({ type, provider: provider ?? "", reason: reason ?? "" });
    if (type !== "credentials.issued") return;
    for (const { tag, rule } of trace.filter(({ outcome }) => outcome === "spoke")) {
      this.#tags.inc({ tag, source: rule === "default" ? "default" : "claim" });
    }
  }

  answered({ method, route, status, seconds, refusal }: AnsweredRequest): void {
    this.#requests.inc({ method: METHODS.has(method) ? method : "other", route, status });
    this.#latency.observe({ route }, seconds);
    if (refusal !== undefined) this.#refusals.inc({ reason: refusal });
  }

  #counter(name: string, help: string, labelNames: readonly string[]): Counter {
    return new Counter({ name, help, labelNames: [...labelNames], registers: [this.#registry] });
  }

  /** One that is worked out anew at each scrape. */
  #gauge(name: string, help: string, labelNames: string[], read: (gauge: Gauge) => void | Promise<void>): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      labelNames,
      registers: [this.#registry],
      collect() {
        gauge.reset();
        return read(gauge);
      },
    });
  }
}

const METHODS: ReadonlySet<string> = new Set(["GET", "HEAD", "POST", "OPTIONS"]);

function asNumber(check: Promise<boolean>): Promise<0 | 1> {
  return check.then(
    (holds) => (holds ? 1 : 0),
    () => 0,
  );
}
