import { createHash, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import { Agent, createServer, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";
import { AssumeRoleWithWebIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { Redis } from "ioredis";

/**
 * What nobody can avoid who issues credentials, and nothing else: one GET, one ES256 signature, one call by the AWS
 * SDK, two durable rows whose commits are grouped. It trusts what lies in Redis, checks nothing, maps nothing.
 */
const { redisUrl, stsUrl, file } = JSON.parse(process.argv[2] ?? "") as Record<"redisUrl" | "stsUrl" | "file", string>;

const redis = new Redis(redisUrl);
const sts = new STSClient({
  region: "us-east-1",
  endpoint: stsUrl,
  credentials: () => Promise.reject(new Error("these calls are not signed")),
  requestHandler: new NodeHttpHandler({ httpAgent: new Agent({ keepAlive: true, maxSockets: 64 }) }),
});
const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
const signOffThread = promisify((data: Buffer, done: (error: Error | null, signature: Buffer) => void) => {
  sign("sha256", data, { key: privateKey, dsaEncoding: "ieee-p1363" }, done);
});
const append = groupedAppends(new Worker(new URL("./bare-writer.ts", import.meta.url), { workerData: file }));

const server = createServer((req, res) => {
  issue(req).then(
    (body) => res.writeHead(200, { "content-type": "application/json" }).end(body),
    (error: unknown) => res.writeHead(500).end(String(error)),
  );
});
server.listen(0, "127.0.0.1", () => {
  console.log(`http://127.0.0.1:${(server.address() as AddressInfo).port}`);
});
process.once("SIGTERM", () => process.exit(0));

async function issue(req: IncomingMessage): Promise<string> {
  const token = (req.headers.authorization ?? "").slice("Bearer ".length);
  const session = await redis.get(bareKey(token));
  if (session === null) throw new Error("no session");
  const facts = { requestId: randomUUID(), ...(JSON.parse(session) as { email: string }) };
  await append(JSON.stringify({ type: "credentials.requested", ...facts }));
  const input = ["{}", JSON.stringify(facts)].map((part) => Buffer.from(part).toString("base64url")).join(".");
  const signature = await signOffThread(Buffer.from(input));
  const { Credentials, AssumedRoleUser } = await sts.send(
    new AssumeRoleWithWebIdentityCommand({
      RoleArn: "arn:aws:iam::111122223333:role/BedrockShared",
      RoleSessionName: facts.email,
      WebIdentityToken: `${input}.${signature.toString("base64url")}`,
      DurationSeconds: 3600,
    }),
  );
  await append(JSON.stringify({ type: "credentials.issued", ...facts, arn: AssumedRoleUser?.Arn }));
  return JSON.stringify({ Version: 1, ...Credentials });
}

function bareKey(token: string): string {
  return `bare:${createHash("sha256").update(token).digest("base64url")}`;
}

/** While one transaction runs, whatever arrives waits and shares the next. */
function groupedAppends(writer: Worker): (row: string) => Promise<void> {
  let waiting: { row: string; resolve: () => void }[] = [];
  let running: typeof waiting = [];
  const begin = (): void => {
    running = waiting;
    waiting = [];
    writer.postMessage(running.map(({ row }) => row));
  };
  writer.on("message", () => {
    const done = running;
    running = [];
    for (const { resolve } of done) resolve();
    if (waiting.length > 0) begin();
  });
  return (row) =>
    new Promise((resolve) => {
      waiting.push({ row, resolve });
      // One turn later, so that callers of the same moment are in the first transaction already.
      if (waiting.length === 1 && running.length === 0) queueMicrotask(begin);
    });
}
