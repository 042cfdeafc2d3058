import { once } from "node:events";
import { readFile } from "node:fs/promises";
import { createServer, type IncomingHttpHeaders, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { startBroker } from "../../src/app.ts";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { NO_TRACES, type Traces } from "../../src/metrics/traces.ts";
import { tracesFor } from "../../src/metrics/traces-for.ts";
import { Browser } from "../../src/sandbox/browser.ts";
import { configBeside, serveBroker } from "../support/balanced.ts";
import type { Machine } from "../support/command-line.ts";
import { personOf, standIn, startCompany, type Company } from "../support/company.ts";
import { recordingLog } from "../support/log.ts";
import { startOtlpReceiver, type OtlpReceiver, type ReceivedSpan } from "../support/otlp.ts";

const CLAIMS_MAX_AGE = 60;
let ahead = 0;
const now = (): number => Date.now() + ahead;
const log = recordingLog();

let receiver: OtlpReceiver;
let traces: Traces;
let company: Company;
let jane: Machine;
let token: string;
/** In front of the stand-in for AWS: what the broker's calls bring with them. */
let aws: { readonly url: string; readonly headers: IncomingHttpHeaders[]; readonly server: Server };

beforeAll(async () => {
  receiver = await startOtlpReceiver();
  // The exporter reads it from there, as OpenTelemetry's specification says.
  process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] = receiver.url;
  process.env["OTEL_BSP_SCHEDULE_DELAY"] = "50";
  traces = await tracesFor(process.env, { version: "0.1.0", log });
  company = await startCompany({
    now,
    start: async (config) => {
      aws = await listeningIn(config.aws.stsEndpoint ?? "");
      const providers = config.providers.map((it) => ({ ...it, claimsMaxAgeSeconds: CLAIMS_MAX_AGE }));
      return startBroker({ ...config, providers, aws: { ...config.aws, stsEndpoint: aws.url } }, log, now, traces);
    },
  });
  jane = await company.employee("okta", "Jane");
  ({ accessToken: token } = JSON.parse(await readFile(jane.file("tokens.json"), "utf8")) as { accessToken: string });
});
afterAll(async () => {
  await company.close();
  await traces.close();
  aws.server.close();
  aws.server.closeAllConnections();
  await receiver.close();
});
beforeEach(() => {
  receiver.answer = "accept";
});

async function listeningIn(target: string): Promise<typeof aws> {
  const headers: IncomingHttpHeaders[] = [];
  const server = createServer((req, res) => {
    headers.push(req.headers);
    void text(req)
      .then((body) =>
        fetch(target, { method: "POST", body, headers: { "content-type": String(req.headers["content-type"]) } }),
      )
      .then(async (answer) => res.writeHead(answer.status, { "content-type": "text/xml" }).end(await answer.text()));
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, headers, server };
}

async function askForCredentials(headers: Record<string, string> = {}): Promise<readonly ReceivedSpan[]> {
  const answer = await fetch(`${company.config.baseUrl}/api/v1/credentials`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, ...headers },
  });
  return traceOf(answer.headers.get("x-request-id") ?? "");
}

async function traceOf(requestId: string): Promise<readonly ReceivedSpan[]> {
  await expect.poll(() => receiver.traceOf(requestId), { timeout: 10_000 }).toBeDefined();
  return receiver.traceOf(requestId) ?? [];
}

/** The names of what happened directly below the span of this name, in order, without the store's commands. */
function below(trace: readonly ReceivedSpan[], name: string): string[] {
  const parent = trace.find((span) => span.name === name);
  return trace
    .filter((span) => span.parentSpanId === parent?.spanId && !span.name.startsWith("store "))
    .map((span) => span.name);
}

const ISSUE = "POST /api/v1/credentials";

describe("the trace of an issue", () => {
  it("has each step, in order, below the request", async () => {
    const trace = await askForCredentials();
    expect(trace[0]).toMatchObject({
      name: ISSUE,
      kind: 2,
      attributes: {
        "http.request.method": "POST",
        "http.route": "/api/v1/credentials",
        "http.response.status_code": 200,
      },
    });
    expect(trace[0]?.parentSpanId).toBeUndefined();
    expect(below(trace, ISSUE)).toEqual(["issue"]);
    expect(trace.find(({ name }) => name === "issue")?.attributes).toEqual({ "rolecall.provider": "okta" });
    expect(below(trace, "issue")).toEqual([
      "mapping",
      "ledger_name",
      "ledger_append credentials.requested",
      "sign",
      "sts",
      "ledger_append credentials.issued",
    ]);
    expect(trace.map(({ name }) => name)).toContain("store get");
  });

  it("has the question to the provider where claims are stale", async () => {
    ahead += (CLAIMS_MAX_AGE + 1) * 1000;
    const trace = await askForCredentials();
    expect(below(trace, "issue")[0]).toBe("claims_refresh");
  });

  it("says which step failed, and by which reason", async () => {
    const row = STS_ERRORS.find(({ retry }) => !retry);
    if (!row) throw new Error("every error is retried");
    company.aws.fail({ kind: "error", ...row });
    const trace = await askForCredentials();
    const failed = trace.filter(({ status }) => status.code === 2);
    expect(failed.map(({ name }) => name)).toEqual([ISSUE, "issue", "sts"]);
    for (const { attributes } of failed) expect(attributes["rolecall.reason"]).toBe(row.reason);
    expect(trace[0]?.attributes["rolecall.reason"]).toBe(row.reason);
  });

  it("sends nothing of it to AWS", () => {
    expect(aws.headers.length).toBeGreaterThan(0);
    for (const headers of aws.headers) {
      expect(Object.keys(headers)).not.toContain("traceparent");
      expect(Object.keys(headers)).not.toContain("tracestate");
      expect(Object.keys(headers)).not.toContain("baggage");
    }
  });
});

it("a sign-in has the provider's answer, the name and the record", async () => {
  const { baseUrl } = company.config;
  const browser = new Browser();
  const page = await browser.open(`${baseUrl}/login/entra`);
  await browser.submit(page, { name: "person", value: personOf(standIn(company, "entra"), "Priya").subject });
  const row = (await company.rows()).findLast(({ type }) => type === "login.succeeded");
  const trace = await traceOf(row?.requestId ?? "");
  expect(below(trace, "GET /login/:provider/callback")).toEqual([
    "idp_finish",
    "ledger_bind",
    "ledger_append login.succeeded",
  ]);
});

describe("a traceparent", () => {
  const theirs = { trace: "0af7651916cd43dd8448eb211c80319c", span: "b7ad6b7169203331" };

  it.each([
    ["that wants it sampled", "01"],
    ["that does not", "00"],
  ])("%s is linked to, not continued", async (_what, flags) => {
    const [root] = await askForCredentials({ traceparent: `00-${theirs.trace}-${theirs.span}-${flags}` });
    expect(root?.traceId).not.toBe(theirs.trace);
    expect(root?.parentSpanId).toBeUndefined();
    expect(root?.links).toMatchObject([{ traceId: theirs.trace, spanId: theirs.span }]);
  });

  it.each([
    `00-${"0".repeat(32)}-${theirs.span}-01`,
    `00-${theirs.trace}-${theirs.span}`,
    "hunter2",
    `ff-${theirs.trace}-${theirs.span}-01`,
  ])("of %s is left alone", async (traceparent) => {
    const [root] = await askForCredentials({ traceparent });
    expect(root?.links).toEqual([]);
  });
});

it("nothing personal and no secret is in any span", async () => {
  await fetch(`${company.config.baseUrl}/login/okta/callback?code=hunter2&state=hunter2`);
  const last = await fetch(`${company.config.baseUrl}/hunter2`, {
    headers: { "user-agent": "hunter2", cookie: "a=hunter2" },
  });
  await traceOf(last.headers.get("x-request-id") ?? "");
  const all = receiver.bodies.join("\n");
  expect(all).not.toMatch(/hunter2|@|jane|priya|search|eyJ|ASIA|127\.0\.0\.1/i);
  const known = [
    ...["http.request.method", "http.route", "http.response.status_code"],
    ...["rolecall.request_id", "rolecall.reason", "rolecall.provider"],
  ];
  for (const { attributes, events = [], status } of receiver.spans) {
    expect(known).toEqual(expect.arrayContaining(Object.keys(attributes)));
    // Where an error's message would be.
    expect([events, status.message]).toEqual([[], undefined]);
  }
  expect(receiver.spans.map(({ name }) => name)).not.toContain("GET /readyz");
});

describe("a receiver that", () => {
  it("refuses changes nothing but the log, which says so once and has nothing of its answer", async () => {
    receiver.answer = "refuse";
    const status = async (): Promise<number> => (await fetch(`${company.config.baseUrl}/`)).status;
    const refused = (): unknown[] => log.lines.filter(({ message }) => message.startsWith("traces can't be sent"));
    expect(await status()).toBe(200);
    await expect.poll(refused, { timeout: 10_000 }).toHaveLength(1);
    expect(await status()).toBe(200);
    await expect.poll(receiver.refusals, { timeout: 10_000 }).toBe(2);
    expect(JSON.stringify(refused())).not.toContain("hunter2");
    receiver.answer = "accept";
    await fetch(`${company.config.baseUrl}/`);
    await expect
      .poll(() => log.lines.map(({ message }) => message), { timeout: 10_000 })
      .toContain("traces can be sent again");
    expect(refused()).toHaveLength(1);
  });

  it("never answers keeps nobody from stopping", async () => {
    receiver.answer = "silent";
    const of = await tracesFor(process.env, { version: "0.1.0", log });
    of.begin({ requestId: "r", traceparent: undefined }).end({
      method: "GET",
      route: "/",
      status: 200,
      refusal: undefined,
    });
    await of.close();
  });
});

describe("rolecall-broker serve", () => {
  it("sends what is left when it stops", async () => {
    const config = await configBeside(company.configFile, "traced.yaml", { stateDir: "traced" });
    const broker = await serveBroker(config, {
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_SERVICE_NAME: "rolecall-eu",
    });
    const answer = await fetch(`http://127.0.0.1:${broker.port}/`);
    expect(await broker.stop()).toBe(0);
    expect(receiver.traceOf(answer.headers.get("x-request-id") ?? "")).toHaveLength(1);
    expect(receiver.bodies.at(-1)).toContain("rolecall-eu");
  });

  it.each([
    ["no endpoint", {}],
    ["an empty one", { OTEL_EXPORTER_OTLP_ENDPOINT: "" }],
    ["one that is no URL", { OTEL_EXPORTER_OTLP_ENDPOINT: "hunter2" }],
    ["the SDK disabled", { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_SDK_DISABLED: "true" }],
    ["another exporter", { OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1", OTEL_TRACES_EXPORTER: "none" }],
  ])("has no traces with %s", async (_what, env) => {
    expect(await tracesFor(env, { version: "0.1.0", log })).toBe(NO_TRACES);
    expect(JSON.stringify(log.lines)).not.toContain("hunter2");
  });
});
