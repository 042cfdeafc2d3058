import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { json } from "node:stream/consumers";

/** A span as OTLP/HTTP has it in JSON (opentelemetry-proto, trace.proto), with its attributes as a plain object. */
export interface ReceivedSpan {
  readonly name: string;
  readonly kind: number;
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId: string | undefined;
  readonly startTimeUnixNano: string;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly status: { readonly code?: number; readonly message?: string };
  readonly events?: readonly unknown[];
}

/** A collector's OTLP/HTTP receiver that keeps what it is sent. */
export interface OtlpReceiver {
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** Everything that came, whole. */
  readonly bodies: readonly string[];
  /** How many requests it has refused. */
  readonly refusals: () => number;
  /** How it answers from now on: `silent` takes a request and never answers. */
  answer: "accept" | "refuse" | "silent";
  /** Those of the request with this ID, its own first, then by their beginning; undefined: it has not come yet. */
  traceOf(requestId: string): readonly ReceivedSpan[] | undefined;
  close(): Promise<void>;
}

interface Sent {
  readonly resourceSpans: readonly { readonly scopeSpans: readonly { readonly spans: readonly SentSpan[] }[] }[];
}

interface SentSpan extends Omit<ReceivedSpan, "attributes" | "links"> {
  readonly attributes: readonly { readonly key: string; readonly value: Readonly<Record<string, unknown>> }[];
  readonly links?: ReceivedSpan["links"];
}

export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const bodies: string[] = [];
  let refusals = 0;
  const server = createServer((req, res) => {
    void json(req).then((sent) => {
      if (receiver.answer === "silent") return;
      if (receiver.answer === "refuse" || req.url !== "/v1/traces") {
        refusals += 1;
        res.writeHead(400).end("token=hunter2");
        return;
      }
      bodies.push(JSON.stringify(sent));
      spans.push(...spansIn(sent as Sent));
      res.setHeader("content-type", "application/json").end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const receiver: OtlpReceiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    spans,
    bodies,
    refusals: () => refusals,
    answer: "accept",
    traceOf(requestId) {
      const root = spans.find(({ attributes }) => attributes["rolecall.request_id"] === requestId);
      if (root === undefined) return undefined;
      const rest = spans.filter((span) => span.traceId === root.traceId && span !== root);
      return [root, ...rest.sort((a, b) => (BigInt(a.startTimeUnixNano) < BigInt(b.startTimeUnixNano) ? -1 : 1))];
    },
    async close() {
      server.close();
      server.closeAllConnections();
      await once(server, "close");
    },
  };
  return receiver;
}

function spansIn({ resourceSpans }: Sent): ReceivedSpan[] {
  const sent = resourceSpans.flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans));
  return sent.map(({ attributes, links = [], ...span }) => ({
    ...span,
    links,
    attributes: Object.fromEntries(attributes.map(({ key, value }) => [key, Object.values(value)[0]])),
  }));
}
