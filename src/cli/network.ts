import http from "node:http";
import { errorCode } from "./private-file.ts";
import { BrokerUnavailable, CommandFailure } from "./failure.ts";

/** For one request; credentials wait for AWS STS too. */
export const SECONDS = { oauth: 10, api: 10, credentials: 20 } as const;

/**
 * From here on requests go by HTTPS_PROXY, HTTP_PROXY and NO_PROXY, where they are set; a broker on this machine is
 * asked directly. (Certificates: Node reads NODE_EXTRA_CA_CERTS by itself.)
 */
export function honourProxy(): void {
  const { env } = process;
  const https = env["https_proxy"] ?? env["HTTPS_PROXY"];
  const plain = env["http_proxy"] ?? env["HTTP_PROXY"];
  if ((https ?? plain ?? "") === "") return;
  const direct = [env["no_proxy"] ?? env["NO_PROXY"], "localhost", "127.0.0.1", "[::1]"].filter(Boolean).join(",");
  try {
    http.setGlobalProxyFromEnv({
      ...(https !== undefined && { HTTPS_PROXY: https }),
      ...(plain !== undefined && { HTTP_PROXY: plain }),
      NO_PROXY: direct,
    });
  } catch (error) {
    throw new CommandFailure("HTTPS_PROXY or HTTP_PROXY is not a proxy's address", {
      hint: "it looks like http://proxy.acme.example:3128",
      cause: error,
    });
  }
}

/** What a failed `fetch` means for the person: no connection, or no answer in time. */
export function unavailable(broker: string, error: unknown): BrokerUnavailable {
  const code = causeCode(error);
  const certificate = code !== undefined && /CERT|SIGNED|ISSUER/.test(code);
  return new BrokerUnavailable(`the broker at ${broker} did not answer${code === undefined ? "" : ` (${code})`}`, {
    hint: certificate
      ? "set NODE_EXTRA_CA_CERTS to a file with your company's CA certificates (PEM)"
      : "check the address, your network and VPN, and HTTPS_PROXY; then try again",
    cause: error,
  });
}

/** The system's code beneath a TypeError of `fetch`, or a word for a time limit. */
function causeCode(error: unknown): string | undefined {
  if (!(error instanceof Error)) return undefined;
  if (error.name === "TimeoutError" || errorCode(error) === "OAUTH_TIMEOUT") return "time limit";
  return error.cause instanceof Error ? (errorCode(error.cause) ?? causeCode(error.cause)) : errorCode(error);
}
