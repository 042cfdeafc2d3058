import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import { sessionArnOf } from "../flow/federation-token.ts";
import { readEntries } from "../ledger/log-reader.ts";
import type { LedgerEntry } from "../ledger/row.ts";
import { readSqlite } from "../ledger/sqlite.ts";
import { Browser } from "./browser.ts";
import type { Person } from "./people.ts";
import { ledgerFileIn, type Sandbox } from "./sandbox.ts";

const ROLECALL = fileURLToPath(new URL("../../dist/rolecall.mjs", import.meta.url));

/** What somebody got: one line of `npm run demo -- --once`. */
export interface OnceLine {
  readonly provider: string;
  readonly protocol: "oidc" | "saml";
  readonly federation: NonNullable<LedgerEntry["federation"]>;
  readonly email: string;
  readonly sessionArn: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly expiration: string;
  readonly ledgerSeq: number;
}

/** How people sign in there: by OIDC, or by SAML. */
export interface WayIn {
  readonly id: string;
  readonly people: readonly Person[];
}

/** Every way to sign in to the sandbox, OIDC first. */
export function waysIn({ providers }: Pick<Sandbox, "providers">): WayIn[] {
  return [...providers, ...providers.flatMap(({ saml }) => saml ?? [])];
}

interface ProcessCredentials {
  readonly AccessKeyId: string;
  readonly SecretAccessKey: string;
  readonly SessionToken: string;
  readonly Expiration: string;
}

/**
 * Signs the first person of `provider` in as they would do it themselves (the built command line, a browser, the
 * provider's page, the approval), takes the credentials that an AWS client would be given, asks STS whose they are,
 * and compares with the ledger's rows. Throws an Error that says what did not hold.
 */
export async function signInOnce(sandbox: Sandbox, provider: WayIn): Promise<OnceLine> {
  const person = provider.people.find((candidate) => candidate.refused === undefined);
  if (!person) throw new Error(`nobody of ${provider.id} may sign in`);
  const home = await mkdtemp(join(tmpdir(), "rolecall-once-"));
  try {
    await signInByCommandLine(sandbox, home, provider, person);
    const credentials = await credentialProcess(sandbox, home);
    const arn = await callerIdentity(sandbox, credentials);
    const issued = await requireRecord(sandbox, credentials, arn, person);
    return {
      provider: provider.id,
      protocol: protocolOf(sandbox, provider),
      federation: issued.federation,
      email: person.email,
      sessionArn: arn,
      tags: issued.tags ?? {},
      expiration: credentials.Expiration,
      ledgerSeq: issued.seq,
    };
  } finally {
    await rm(home, { recursive: true, force: true });
  }
}

function protocolOf({ config }: Sandbox, { id }: WayIn): OnceLine["protocol"] {
  const provider = config.providers.find((candidate) => candidate.id === id);
  if (!provider) throw new Error(`the broker has no provider ${id}`);
  return provider.protocol;
}

/** Signs `person` in by the built command line, whose files go to `home`, and a browser that answers as they would. */
export async function signInByCommandLine(
  { config }: Sandbox,
  home: string,
  provider: WayIn,
  person: Person,
): Promise<void> {
  const args = [ROLECALL, "login", "--no-browser", "--broker", config.baseUrl];
  const child = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "pipe"], env: environment(home) });
  const exited = once(child, "exit") as Promise<[number | null]>;
  let said = "";
  for await (const line of createInterface({ input: child.stderr })) {
    said += `${line}\n`;
    const [address] = /https?:\/\/\S+\/oauth\/auth\S+/.exec(line) ?? [];
    if (address !== undefined) await answerInBrowser(address, config.baseUrl, provider, person);
  }
  const [code] = await exited;
  if (code !== 0) throw new Error(`rolecall login ended with ${code}: ${said}`);
}

async function answerInBrowser(address: string, base: string, provider: WayIn, person: Person): Promise<void> {
  const browser = new Browser();
  const choice = await browser.open(address);
  const link = new RegExp(`href="(/login/${provider.id}(?:\\?[^"]*)?)"`).exec(choice.text)?.[1];
  if (link === undefined) throw new Error(`the page at ${choice.url.href} does not offer ${provider.id}`);
  const idpPage = await browser.open(new URL(link.replaceAll("&amp;", "&"), base).href);
  const approval = await browser.submit(idpPage, { name: "person", value: person.subject });
  await browser.submit(approval, { name: "decision", value: "approve" });
}

/** What `credential_process` runs, and what it prints. */
async function credentialProcess({ config }: Sandbox, home: string): Promise<ProcessCredentials> {
  const args = [ROLECALL, "credentials", "--broker", config.baseUrl];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env: environment(home) });
  return JSON.parse(stdout) as ProcessCredentials;
}

async function callerIdentity({ aws, config }: Sandbox, credentials: ProcessCredentials): Promise<string> {
  const { AccessKeyId: accessKeyId, SecretAccessKey: secretAccessKey, SessionToken: sessionToken } = credentials;
  const client = new STSClient({
    region: config.aws.region,
    endpoint: aws.url,
    credentials: { accessKeyId, secretAccessKey, sessionToken },
  });
  try {
    return (await client.send(new GetCallerIdentityCommand({}))).Arn ?? "";
  } finally {
    client.destroy();
  }
}

/** The row of these credentials, once everything that it should say holds. */
async function requireRecord(
  { config }: Sandbox,
  credentials: ProcessCredentials,
  arn: string,
  person: Person,
): Promise<LedgerEntry & Pick<OnceLine, "federation">> {
  const db = readSqlite(ledgerFileIn(config.stateDir));
  const rows: LedgerEntry[] = [];
  try {
    for await (const entry of readEntries(db)) rows.push(entry);
  } finally {
    await db.destroy();
  }
  const issued = rows.find((row) => row.type === "credentials.issued" && row.accessKeyId === credentials.AccessKeyId);
  const requested = rows.find((row) => row.type === "credentials.requested" && row.requestId === issued?.requestId);
  require(issued !== undefined, "the ledger has the credentials");
  require(requested !== undefined && requested.seq < issued.seq, "the ledger had the request first");
  require(arn === sessionArnOf(config.aws.roleArn, person.email), "the ARN ends in the person's email");
  require(arn === issued.sessionArn, "the ledger has the ARN that STS answers");
  require(issued.tags?.["team"] !== undefined, "the session has a team");
  require(issued.tags["cost-centre"] !== undefined, "the session has a cost centre");
  require(issued.trace?.some(({ outcome }) => outcome === "spoke") === true, "the ledger says why");
  const { federation } = issued;
  require(federation !== undefined, "the ledger says how AWS was asked");
  return { ...issued, federation };
}

function require(holds: boolean, what: string): asserts holds {
  if (!holds) throw new Error(`did not hold: ${what}`);
}

function environment(home: string): NodeJS.ProcessEnv {
  return { ...process.env, ROLECALL_HOME: home, ROLECALL_BROKER: "" };
}
