import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer, type AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { inflateRawSync } from "node:zlib";
import { stringify } from "yaml";
import { startBroker, type Broker } from "../../src/app.ts";
import { loadConfig } from "../../src/config/load.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../../src/sandbox/saml/key.ts";
import type { ResponseFacts } from "../../src/sandbox/saml/response.ts";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { CookieJar } from "./cookie-jar.ts";
import { entriesOf } from "./ledger.ts";
import { recordingLog, type LogLine } from "./log.ts";

export const ISSUER = "http://www.okta.example/exk1";
export const TENANT = "3f6d1c0a-9b42-4f6e-8a57-c1d2e3f4a5b6";
const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";

/** A broker with SAML providers, whose identity provider is whoever holds `key`: the test. */
export interface SamlCompany {
  readonly baseUrl: string;
  /** Of this very process, where several share a `baseUrl`. */
  readonly url: string;
  readonly folder: string;
  readonly key: SamlIdpKey;
  readonly logged: readonly LogLine[];
  browser(): SamlBrowser;
  rows(): Promise<LedgerEntry[]>;
  close(): Promise<void>;
}

export interface SamlCompanyOptions {
  readonly redisUrl?: string;
  /** Fields of the provider `saml`, over those of a generic one whose certificate is configured. */
  readonly provider?: object;
  /** More providers, beside it. */
  readonly providers?: readonly object[];
  readonly now?: () => number;
  /** Left out: a new one. */
  readonly key?: SamlIdpKey;
  /** Left out: one of its own. With it, another process's keys and ledger are used. */
  readonly folder?: string;
  readonly baseUrl?: string;
  readonly files?: Readonly<Record<string, string>>;
}

const TAGS = {
  team: { from: [{ claim: "groups", match: { "bedrock-search": "search" } }], default: "none" },
};

export async function startSamlCompany(options: SamlCompanyOptions = {}): Promise<SamlCompany> {
  const key = options.key ?? (await newSamlIdpKey());
  const folder = options.folder ?? (await mkdtemp(join(tmpdir(), "rolecall-saml-")));
  const port = await freePort();
  const baseUrl = options.baseUrl ?? `http://127.0.0.1:${port}`;
  const files = { "idp.pem": key.certificate, "redis.url": options.redisUrl ?? "", ...options.files };
  for (const [name, content] of Object.entries(files)) await writeFile(join(folder, name), content);
  const provider = {
    id: "saml",
    kind: "generic",
    protocol: "saml",
    directory: "acme",
    issuer: ISSUER,
    entryPoint: "http://localhost:9/sso",
    certificates: [{ file: "idp.pem" }],
    emailDomains: ["acme.example"],
    ...options.provider,
  };
  const file = join(folder, `rolecall-${port}.yaml`);
  await writeFile(
    file,
    stringify(
      {
        environment: "development",
        baseUrl,
        listen: `127.0.0.1:${port}`,
        stateDir: ".",
        aws: { region: "us-east-1", roleArn: "arn:aws:iam::111122223333:role/BedrockShared" },
        providers: [provider, ...(options.providers ?? []).map((over) => ({ ...provider, ...over }))],
        tags: TAGS,
        ...(options.redisUrl !== undefined && { redis: { url: { file: "redis.url" } } }),
      },
      { aliasDuplicateObjects: false },
    ),
  );
  const log = recordingLog();
  const broker: Broker = await startBroker(loadConfig(file, {}), log, options.now);
  const url = `http://127.0.0.1:${port}`;
  return {
    baseUrl,
    url,
    folder,
    key,
    logged: log.lines,
    browser: () => new SamlBrowser(url, baseUrl, key, options.now ?? Date.now),
    rows: () => entriesOf(join(folder, "ledger.db")),
    async close() {
      await broker.close();
      if (options.folder === undefined) await rm(folder, { recursive: true, force: true });
    },
  };
}

/** What the provider learns of a sign-in that a browser has begun. */
export interface BegunSignIn {
  readonly provider: string;
  readonly requestId: string;
  readonly relayState: string;
  /** The AuthnRequest. */
  readonly request: string;
  readonly location: string;
}

/** A browser, and the identity provider's part for whoever sits there. */
export class SamlBrowser {
  readonly jar: CookieJar;
  readonly #baseUrl: string;
  readonly #key: SamlIdpKey;
  readonly #now: () => number;

  constructor(url: string, baseUrl: string, key: SamlIdpKey, now: () => number, jar = new CookieJar(url)) {
    this.jar = jar;
    this.#baseUrl = baseUrl;
    this.#key = key;
    this.#now = now;
  }

  async begin(provider = "saml", next = "/"): Promise<BegunSignIn> {
    const answer = await this.jar.get(`/login/${provider}?next=${encodeURIComponent(next)}`);
    const location = answer.headers.get("location") ?? "";
    if (answer.status !== 302) throw new Error(`status ${answer.status}: ${await answer.text()}`);
    const query = new URL(location).searchParams;
    const request = inflateRawSync(Buffer.from(query.get("SAMLRequest") ?? "", "base64")).toString();
    const requestId = / ID="([^"]+)"/.exec(request)?.[1] ?? "";
    return { provider, requestId, relayState: query.get("RelayState") ?? "", request, location };
  }

  /** What an honest provider would say of Jane, with `over` in place of some of it. */
  facts(
    { provider, requestId }: Pick<BegunSignIn, "provider" | "requestId">,
    over: Partial<ResponseFacts> = {},
  ): ResponseFacts {
    const address = `${this.#baseUrl}/login/${provider}`;
    return {
      issuer: ISSUER,
      acs: `${address}/acs`,
      audience: `${address}/metadata`,
      inResponseTo: requestId,
      nameId: "jane-1",
      nameIdFormat: PERSISTENT,
      attributes: { email: "jane@acme.example", groups: ["everyone", "bedrock-search"] },
      sessionIndex: "session-1",
      now: this.#now(),
      ...over,
    };
  }

  /** Posts a Response as the provider's page makes the browser do it. */
  post(begun: Pick<BegunSignIn, "provider" | "relayState">, xml: string, path = "acs"): Promise<Response> {
    const fields = { SAMLResponse: Buffer.from(xml).toString("base64"), RelayState: begun.relayState };
    return this.jar.post(`/login/${begun.provider}/${path}`, fields, { "sec-fetch-site": "cross-site" });
  }

  /** A whole honest sign-in. */
  async signIn(provider = "saml", over: Partial<ResponseFacts> = {}): Promise<Response> {
    const begun = await this.begin(provider);
    return this.post(begun, signedResponse(this.facts(begun, over), this.#key));
  }

  /** Whether the first page greets somebody. */
  async isSignedIn(): Promise<boolean> {
    return (await (await this.jar.get("/")).text()).includes("Signed in as");
  }
}

/** The reason that a refusal's page names; undefined: it is none. */
export async function reasonOf(answer: Response): Promise<string | undefined> {
  return /\/problems\/([a-z_]+)/.exec(await answer.text())?.[1];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
