import { createServer, type RequestListener, type Server } from "node:http";
import { createServer as createHttpsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import { regionalEndpoint, stsClient } from "../../src/aws/sts.ts";
import { StsRefusal, type AssumeRole } from "../../src/flow/ports.ts";
import { newFederationKey } from "../../src/keys/new-keys.ts";
import { template } from "../../src/operator/template.ts";
import { startSts, type SandboxSts } from "../../src/sandbox/sts.ts";
import {
  JANE,
  ROLE_ARN,
  acmeConfig,
  janesClaims,
  newSigner,
  signAnything,
  startIssuer,
  type TestIssuer,
} from "../support/federation.ts";
import { recordingLog } from "../support/log.ts";

const signer = await newSigner("ES256");
let issuer: TestIssuer;
let sts: SandboxSts;
let log: ReturnType<typeof recordingLog>;
const closers: (() => void)[] = [];

beforeEach(async () => {
  issuer = await startIssuer([signer]);
  sts = await startSts({ trust: template("aws/role", acmeConfig(issuer.baseUrl)) });
  log = recordingLog();
});
afterEach(async () => {
  for (const close of closers.splice(0)) close();
  await sts.close();
  await issuer.close();
});

function client(options: Partial<Parameters<typeof stsClient>[0]> = {}): AssumeRole {
  const { assumeRole, close } = stsClient({
    region: "us-east-1",
    endpoint: sts.url,
    log,
    backoff: 1,
    ...options,
  });
  closers.push(close);
  return assumeRole;
}

async function request(): Promise<Parameters<AssumeRole>[0]> {
  const token = await signAnything(signer, janesClaims(issuer.issuer));
  return { roleArn: ROLE_ARN, sessionName: JANE, token, durationSeconds: 3600 };
}

async function refusal(assumeRole: AssumeRole): Promise<StsRefusal> {
  const error: unknown = await assumeRole(await request()).catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(StsRefusal);
  return error as StsRefusal;
}

describe("each of STS's errors, over HTTP", () => {
  test.each(STS_ERRORS)("$wireCode: $reason, retry $retry", async ({ wireCode, status, reason, retry }) => {
    sts.fail(...Array.from({ length: 9 }, () => ({ kind: "error", wireCode, status }) as const));
    const refused = await refusal(client());
    expect(refused.code).toBe(reason);
    expect(refused.message).toContain(wireCode);
    expect(refused.stsRequestId).toMatch(/^[0-9a-f-]{36}$/);
    expect(sts.calls()).toBe(retry ? 5 : 1);
    expect(log.lines).toHaveLength(sts.calls());
    expect(JSON.stringify(log.lines)).not.toContain("eyJ");
  });

  test.each(STS_ERRORS.filter((row) => row.retry))("$wireCode once, then the session", async ({ wireCode, status }) => {
    sts.fail({ kind: "error", wireCode, status });
    expect((await client()(await request())).sourceIdentity).toBe(JANE);
    expect(sts.calls()).toBe(2);
  });

  test.each([
    [418, 1],
    [500, 5],
  ])("a code that nobody knows, with HTTP %i: %i calls", async (status, calls) => {
    sts.fail(...Array.from({ length: 9 }, () => ({ kind: "error", wireCode: "Odd<Code>", status }) as const));
    const refused = await refusal(client());
    expect(refused.code).toBe("sts_internal");
    expect(refused.message).toBe(`STS answered an unreadable code (HTTP ${status})`);
    expect(sts.calls()).toBe(calls);
  });
});

describe("no answer", () => {
  test("a connection that is reset is tried again", async () => {
    sts.fail({ kind: "reset" }, { kind: "reset" });
    expect((await client()(await request())).sourceIdentity).toBe(JANE);
    expect(sts.calls()).toBe(3);
  });

  test("an attempt that hangs is given up and tried again", async () => {
    sts.fail({ kind: "hang" });
    expect((await client({ limits: { attempt: 200 } })(await request())).sourceIdentity).toBe(JANE);
    expect(sts.calls()).toBe(2);
  });

  test("a call ends at its own deadline, whatever hangs", async () => {
    sts.fail(...Array.from({ length: 9 }, () => ({ kind: "hang" }) as const));
    const refused = await refusal(client({ limits: { call: 300 } }));
    expect(refused.code).toBe("sts_unreachable");
    expect(sts.calls()).toBe(1);
  });

  test("a back-off longer than the deadline is not slept through", async () => {
    sts.fail(...Array.from({ length: 9 }, () => ({ kind: "error", wireCode: "Throttling", status: 400 }) as const));
    const refused = await refusal(client({ limits: { call: 300 }, backoff: 1_000_000 }));
    expect(refused.code).toBe("sts_throttled");
  });

  test("nobody listens", async () => {
    const { port } = sts;
    await sts.close();
    expect((await refusal(client({ endpoint: `http://127.0.0.1:${port}` }))).code).toBe("sts_unreachable");
    sts = await startSts({ trust: template("aws/role", acmeConfig(issuer.baseUrl)) });
  });
});

const NAMESPACE = 'xmlns="https://sts.amazonaws.com/doc/2011-06-15/"';
const answer = (result: string): string =>
  `<AssumeRoleWithWebIdentityResponse ${NAMESPACE}><AssumeRoleWithWebIdentityResult>${result}</AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`;
const user = `<AssumedRoleUser><Arn>arn:aws:sts::111122223333:assumed-role/BedrockShared/x</Arn><AssumedRoleId>A:x</AssumedRoleId></AssumedRoleUser>`;
const credentials = (expiration: string): string =>
  `<Credentials><AccessKeyId>ASIA</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken>${expiration}</Credentials>`;
const inAnHour = `<Expiration>${new Date(Date.now() + 3_600_000).toISOString()}</Expiration>`;

describe("an answer that is no session", () => {
  test("the same answer with nothing missing is one", async () => {
    sts.fail({ kind: "answer", status: 200, body: answer(user + credentials(inAnHour)) });
    expect((await client()(await request())).credentials.accessKeyId).toBe("ASIA");
  });

  test.each([
    ["nothing", 200, ""],
    ["no XML", 200, "{}"],
    ["broken XML", 200, "<AssumeRoleWithWebIdentityResponse><"],
    ["an empty result", 200, answer("")],
    ["no credentials", 200, answer(user)],
    ["no session", 200, answer(credentials(inAnHour))],
    ["no secret key", 200, answer(user + credentials(inAnHour).replace(/<SecretAccessKey>.*<\/SecretAccessKey>/, ""))],
    ["an empty session token", 200, answer(user + credentials(inAnHour).replace(">t<", "><"))],
    ["no expiration", 200, answer(user + credentials(""))],
    ["an expiration that is no time", 200, answer(user + credentials("<Expiration>soon</Expiration>"))],
    [
      "an expiration long after what was asked for",
      200,
      answer(user + credentials("<Expiration>2130-01-01T00:00:00Z</Expiration>")),
    ],
    ["an expiration in the past", 200, answer(user + credentials("<Expiration>2020-01-01T00:00:00Z</Expiration>"))],
  ])("%s", async (_name, status, body) => {
    sts.fail({ kind: "answer", status, body });
    const refused = await refusal(client());
    expect(refused.code).toBe("sts_response_invalid");
    expect(sts.calls()).toBe(1);
  });

  test.each([502, 404])("a page of some proxy, with HTTP %i", async (status) => {
    sts.fail(...Array.from({ length: 9 }, () => ({ kind: "answer", status, body: "<html>Bad</html>" }) as const));
    expect((await refusal(client())).code).toMatch(/^sts_(internal|response_invalid)$/);
  });

  test("a redirect is not followed", async () => {
    const trap = await listen((socket) => socket.destroy());
    const { url, server } = await serveAnswers((_, response) => {
      response.writeHead(307, { location: trap.url }).end();
    });
    await refusal(client({ endpoint: url }));
    server.close();
    trap.server.close();
    expect(trap.connections()).toBe(0);
  });
});

async function serveAnswers(listener: RequestListener): Promise<{ server: Server; url: string }> {
  const server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { server, url: `http://127.0.0.1:${(server.address() as AddressInfo).port}` };
}

async function listen(
  onConnection: (socket: Socket) => void,
): Promise<{ server: Server; url: string; connections: () => number }> {
  let count = 0;
  const { server, url } = await serveAnswers(() => undefined);
  server.on("connection", (socket) => {
    count += 1;
    onConnection(socket);
  });
  return { server, url, connections: () => count };
}

test("ten calls in a row share one connection", async () => {
  const opened = new Set<Socket>();
  const { server: front, url: endpoint } = await serveAnswers((incoming, outgoing) => {
    opened.add(incoming.socket);
    incoming.resume();
    outgoing.writeHead(200, { "content-type": "text/xml" });
    outgoing.end(answer(user + credentials(inAnHour)));
  });
  const assumeRole = client({ endpoint });
  for (let count = 0; count < 10; count += 1) await assumeRole(await request());
  expect(opened.size).toBe(1);
  front.closeAllConnections();
  front.close();
});

describe("the machine's own AWS settings", () => {
  test("change neither where tokens go nor how", async () => {
    const trap = await listen((socket) => socket.destroy());
    const home = await mkdtemp(join(tmpdir(), "rolecall-aws-"));
    const settings = `[default]\nregion = eu-west-1\nendpoint_url = ${trap.url}\nuse_fips_endpoint = true\nuse_dualstack_endpoint = true\nservices = local\n[services local]\nsts =\n  endpoint_url = ${trap.url}\n[profile other]\nendpoint_url = ${trap.url}\ncredential_process = /bin/false\n`;
    await writeFile(join(home, "config"), settings);
    const moduleUrl = new URL("../../src/aws/sts.ts", import.meta.url).href;
    const script = `
      const { stsClient } = await import(${JSON.stringify(moduleUrl)});
      const log = { info() {}, warn() {}, error() {} };
      const { assumeRole, close } = stsClient({ region: "us-east-1", endpoint: ${JSON.stringify(sts.url)}, log, backoff: 1 });
      console.log((await assumeRole(${JSON.stringify(await request())})).sessionArn);
      close();`;
    const env = {
      PATH: process.env["PATH"],
      HOME: home,
      AWS_CONFIG_FILE: join(home, "config"),
      AWS_SHARED_CREDENTIALS_FILE: join(home, "config"),
      AWS_PROFILE: "other",
      AWS_REGION: "eu-west-1",
      AWS_ENDPOINT_URL: trap.url,
      AWS_ENDPOINT_URL_STS: trap.url,
      AWS_USE_FIPS_ENDPOINT: "true",
      AWS_USE_DUALSTACK_ENDPOINT: "true",
      AWS_STS_REGIONAL_ENDPOINTS: "legacy",
      AWS_MAX_ATTEMPTS: "9",
      AWS_ACCESS_KEY_ID: "AKIAEXAMPLE",
      AWS_SECRET_ACCESS_KEY: "secret",
      AWS_ROLE_ARN: "arn:aws:iam::111122223333:role/Other",
      AWS_WEB_IDENTITY_TOKEN_FILE: join(home, "config"),
    };
    const { stdout } = await promisify(execFile)(process.execPath, ["--input-type=module", "-e", script], { env });
    await rm(home, { recursive: true });
    trap.server.close();
    expect(stdout).toBe(`arn:aws:sts::111122223333:assumed-role/BedrockShared/${JANE}\n`);
    expect(trap.connections()).toBe(0);
  });
});

test("a token goes to nobody without a certificate, even where Node is told not to look", async () => {
  const { privateKey: key, certificate } = await newFederationKey("RS256", {
    createdAt: new Date(),
    activeFrom: new Date(),
  });
  const cert = `-----BEGIN CERTIFICATE-----\n${certificate}\n-----END CERTIFICATE-----\n`;
  let asked = 0;
  const stranger = createHttpsServer({ key, cert }, (_, response) => {
    asked += 1;
    response.end();
  });
  await new Promise<void>((resolve) => stranger.listen(0, "127.0.0.1", resolve));
  const endpoint = `https://127.0.0.1:${(stranger.address() as AddressInfo).port}`;
  vi.stubEnv("NODE_TLS_REJECT_UNAUTHORIZED", "0");
  expect(await refusal(client({ endpoint }))).toMatchObject({ code: "sts_unreachable" });
  vi.unstubAllEnvs();
  stranger.close();
  expect(asked).toBe(0);
});

test.each([
  ["us-east-1", "https://sts.us-east-1.amazonaws.com"],
  ["eu-central-1", "https://sts.eu-central-1.amazonaws.com"],
  ["us-gov-west-1", "https://sts.us-gov-west-1.amazonaws.com"],
  ["cn-north-1", "https://sts.cn-north-1.amazonaws.com.cn"],
])("in %s, STS is at %s", (region, endpoint) => {
  expect(regionalEndpoint(region)).toBe(endpoint);
});
