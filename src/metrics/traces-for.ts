import type { Log } from "../flow/ports.ts";
import { NO_TRACES, type Traces } from "./traces.ts";

/**
 * Traces to the OTLP/HTTP receiver that the environment names (OpenTelemetry specification, "OpenTelemetry Protocol
 * Exporter"); without one none, and nothing of OpenTelemetry is loaded.
 */
export async function tracesFor(
  env: Readonly<Record<string, string | undefined>>,
  options: { readonly version: string; readonly log: Log },
): Promise<Traces> {
  const endpoint = env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] || env["OTEL_EXPORTER_OTLP_ENDPOINT"];
  const off = env["OTEL_SDK_DISABLED"]?.toLowerCase() === "true" || env["OTEL_TRACES_EXPORTER"] === "none";
  if (endpoint === undefined || endpoint === "" || off) return NO_TRACES;
  if (!URL.canParse(endpoint)) {
    options.log.error({}, "no traces: the endpoint in OTEL_EXPORTER_OTLP_ENDPOINT is no URL");
    return NO_TRACES;
  }
  const { OtlpTraces } = await import("./otlp.ts");
  return new OtlpTraces(env, options);
}
