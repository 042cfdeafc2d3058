import { AsyncLocalStorage } from "node:async_hooks";
import { ROOT_CONTEXT, SpanKind, SpanStatusCode, trace, TraceFlags, type Link, type Span } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import {
  detectResources,
  resourceAttributesEnvDetector,
  resourceFromAttributes,
  serviceNameEnvDetector,
} from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  TraceIdRatioBasedSampler,
  TracerProvider,
  type Sampler,
  type SpanExporter,
} from "@opentelemetry/sdk-trace";
import { asRefusal } from "../flow/errors.ts";
import type { Log } from "../flow/ports.ts";
import type { SpanFacts, Traces } from "./traces.ts";

/** For one batch with its retries (milliseconds), and so for the end of the process too. */
const EXPORT_LIMIT = 2_000;

/** How long spans wait for others to go with them (milliseconds), as OpenTelemetry's specification has it. */
const BATCH_DELAY = 5_000;

type Env = Readonly<Record<string, string | undefined>>;

/**
 * Traces by OTLP/HTTP. Spans wait in memory (2,048 at most, then new ones are dropped) and are sent in batches, apart
 * from the requests: a receiver that is slow or away costs traces and nothing else. Endpoint, headers, certificate and
 * compression are the exporter's to read from the environment.
 */
export class OtlpTraces implements Traces {
  readonly #provider: TracerProvider;
  readonly #current = new AsyncLocalStorage<Span>();

  constructor(env: Env, { version, log }: { readonly version: string; readonly log: Log }) {
    const exporter = telling(new OTLPTraceExporter({ timeoutMillis: EXPORT_LIMIT }), log);
    const broker = resourceFromAttributes({ "service.name": "rolecall-broker", "service.version": version });
    const detectors = [resourceAttributesEnvDetector, serviceNameEnvDetector];
    this.#provider = new TracerProvider({
      resource: broker.merge(detectResources({ detectors })),
      sampler: samplerOf(env),
      spanProcessors: [
        new BatchSpanProcessor({
          exporter,
          exportTimeoutMillis: EXPORT_LIMIT,
          scheduledDelayMillis: positive(env["OTEL_BSP_SCHEDULE_DELAY"]) ?? BATCH_DELAY,
        }),
      ],
    });
  }

  begin: Traces["begin"] = ({ requestId, traceparent }) => {
    const options = {
      kind: SpanKind.SERVER,
      attributes: { "rolecall.request_id": requestId },
      links: linksTo(traceparent),
    };
    const span = this.#tracer.startSpan("request", options, ROOT_CONTEXT);
    return {
      run: (work) => {
        this.#current.run(span, work);
      },
      end: ({ method, route, status, refusal }) => {
        span.updateName(`${method} ${route}`);
        span.setAttributes({
          "http.request.method": method,
          "http.route": route,
          "http.response.status_code": status,
          ...(refusal !== undefined && { "rolecall.reason": refusal }),
        });
        if (status >= 500) span.setStatus({ code: SpanStatusCode.ERROR });
        span.end();
      },
    };
  };

  async step<T>(name: string, work: () => Promise<T>, facts?: SpanFacts): Promise<T> {
    const span = this.#start(name, facts);
    if (span === undefined) return work();
    try {
      return await this.#current.run(span, work);
    } catch (error) {
      fail(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  stepNow<T>(name: string, work: () => T, facts?: SpanFacts): T {
    const span = this.#start(name, facts);
    if (span === undefined) return work();
    try {
      return this.#current.run(span, work);
    } catch (error) {
      fail(span, error);
      throw error;
    } finally {
      span.end();
    }
  }

  async close(): Promise<void> {
    // What could not be sent was told by then.
    await this.#provider.shutdown().catch(() => undefined);
  }

  get #tracer(): ReturnType<TracerProvider["getTracer"]> {
    return this.#provider.getTracer("rolecall");
  }

  /** Undefined where it is part of no request: what the broker does by itself is in the metrics. */
  #start(name: string, { detail, provider }: SpanFacts = {}): Span | undefined {
    const parent = this.#current.getStore();
    if (parent === undefined) return undefined;
    const attributes = provider === undefined ? {} : { "rolecall.provider": provider };
    const whole = detail === undefined ? name : `${name} ${detail}`;
    return this.#tracer.startSpan(whole, { attributes }, trace.setSpan(ROOT_CONTEXT, parent));
  }
}

/** The code alone: an error's message is for the log. */
function fail(span: Span, error: unknown): void {
  span.setStatus({ code: SpanStatusCode.ERROR });
  span.setAttribute("rolecall.reason", asRefusal(error).code);
}

/** Version 00 (W3C Trace Context, 3.2): trace ID, span ID, flags, none of them all zero but the flags. */
const TRACEPARENT = /^00-(?!0{32})([\da-f]{32})-(?!0{16})([\da-f]{16})-[\da-f]{2}$/;

/**
 * The sender's span is linked to, not continued: anybody can send a `traceparent`, and would choose which of our
 * requests are traced, and put them into somebody else's trace.
 */
function linksTo(traceparent: string | undefined): Link[] {
  const [, traceId, spanId] = TRACEPARENT.exec(traceparent ?? "") ?? [];
  if (traceId === undefined || spanId === undefined) return [];
  return [{ context: { traceId, spanId, traceFlags: TraceFlags.NONE, isRemote: true } }];
}

/** `OTEL_TRACES_SAMPLER` as far as it makes sense where every trace begins here: all of them, or a share by `OTEL_TRACES_SAMPLER_ARG`. */
function samplerOf(env: Env): Sampler {
  const share = Number(env["OTEL_TRACES_SAMPLER_ARG"] ?? 1);
  const byShare = env["OTEL_TRACES_SAMPLER"]?.endsWith("traceidratio") === true && share >= 0 && share < 1;
  return byShare ? new TraceIdRatioBasedSampler(share) : new AlwaysOnSampler();
}

function positive(text: string | undefined): number | undefined {
  const value = Number(text);
  return value > 0 ? value : undefined;
}

/** Says once when traces can't be sent, and once when they can again. */
function telling(exporter: SpanExporter, log: Log): SpanExporter {
  let failing = false;
  return {
    export: (spans, done) => {
      exporter.export(spans, (result) => {
        const failed = result.error !== undefined;
        if (failed && !failing) log.warn({ err: result.error }, "traces can't be sent: they are lost until they can");
        if (!failed && failing) log.info({}, "traces can be sent again");
        failing = failed;
        done(result);
      });
    },
    forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    shutdown: () => exporter.shutdown(),
  };
}
