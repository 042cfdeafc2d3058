import { once } from "node:events";
import { request, type IncomingMessage } from "node:http";
import type { AddressInfo } from "node:net";
import { deflateRawSync } from "node:zlib";
import { SAML, ValidateInResponseTo } from "@node-saml/passport-saml";
import express from "express";
import type * as SamlForm from "../src/http/saml.ts";
import type { SamlProvider } from "../src/config/config.ts";
import type * as IdentityOf from "../src/idp/identity.ts";
import type * as Client from "../src/idp/saml/saml.ts";
import { newSamlIdpKey, type SamlIdpKey } from "../src/sandbox/saml/key.ts";
import { signedResponse } from "../src/sandbox/saml/sign.ts";
import { alternate, median, rounded, type Figures } from "./measure.ts";

const built = async <T>(path: string): Promise<T> =>
  (await import(new URL(`../dist/${path}`, import.meta.url).href)) as T;

const ADDRESS = "https://rolecall.acme.example/login/saml";
const PERSISTENT = "urn:oasis:names:tc:SAML:2.0:nameid-format:persistent";

/**
 * Sign-ins by SAML verified a second, from the posted text to the Identity, beside node-saml alone on the same response (signed
 * twice, 50 groups). Beside it, how long the slowest refusal by size or shape takes, from the first byte to the answer.
 */
export async function saml(): Promise<Figures> {
  const { samlClient } = await built<typeof Client>("idp/saml/saml.js");
  const { identityFromClaims } = await built<typeof IdentityOf>("idp/identity.js");
  const [key, ...own] = await Promise.all([newSamlIdpKey(), newSamlIdpKey(), newSamlIdpKey()]);
  const [signing, encryption] = own;
  const provider = providerOf(key);
  const now = Date.now();
  const keys = { signing, encryption };
  const client = samlClient(provider, { address: ADDRESS, keys, allowLoopbackHttp: false, now: () => now });
  const pending = { requestId: "_request-1", requestedAt: now };
  const posted = Buffer.from(responseOf(provider, key, now)).toString("base64");
  const bare = new SAML({
    issuer: provider.spEntityId,
    callbackUrl: `${ADDRESS}/acs`,
    idpCert: key.certificate,
    audience: provider.spEntityId,
    wantAssertionsSigned: true,
    wantAuthnResponseSigned: true,
    validateInResponseTo: ValidateInResponseTo.never,
  });
  const times = await alternate({
    samples: 400,
    ours: async () => {
      const { claims } = await client.finish(posted, pending);
      return identityFromClaims(provider, claims, ["groups"], now);
    },
    floor: () => bare.validatePostResponseAsync({ SAMLResponse: posted }),
  });
  const slowest = await slowestRefusal((text) => client.finish(text, pending));
  const perSecond = { ours: 1000 / times.ours, floor: 1000 / times.floor };
  return {
    name: "saml",
    unit: "sign-ins/s",
    ours: rounded(perSecond.ours),
    floor: rounded(perSecond.floor),
    ratio: rounded(perSecond.ours / perSecond.floor),
    comparedWith: "node-saml alone, which compares less",
    milliseconds: rounded(times.ours),
    floorMilliseconds: rounded(times.floor),
    slowestRefusal: slowest.name,
    slowestRefusalMilliseconds: rounded(slowest.milliseconds),
  };
}

function providerOf(key: SamlIdpKey): SamlProvider {
  return {
    id: "saml",
    kind: "generic",
    protocol: "saml",
    directory: "acme",
    label: "Acme",
    issuer: "urn:idp:acme",
    organization: undefined,
    emailDomains: ["acme.example"],
    claimsMaxAgeSeconds: 36_000,
    spEntityId: `${ADDRESS}/metadata`,
    entryPoint: "https://idp.acme.example/sso",
    certificates: [key.certificate],
    metadata: undefined,
    requestBinding: "HTTP-Redirect",
    wantResponseSigned: true,
    forceAuthn: false,
    subjectClaim: undefined,
  };
}

function responseOf(provider: SamlProvider, key: SamlIdpKey, now: number): string {
  const groups = Array.from({ length: 50 }, (_, i) => `group-${i}`);
  const facts = {
    issuer: provider.issuer,
    acs: `${ADDRESS}/acs`,
    audience: provider.spEntityId,
    inResponseTo: "_request-1",
    nameId: "jane-1",
    nameIdFormat: PERSISTENT,
    attributes: { email: "jane@acme.example", groups },
    sessionIndex: "session-1",
    now,
  };
  return signedResponse(facts, key);
}

const base64 = (text: string): string => Buffer.from(text).toString("base64");
/** As test/attacks/08-size-and-depth.test.ts has them. */
const BAD: Readonly<Record<string, string>> = {
  "10 MB of base64": "QUFB".repeat(2_500_000),
  "40,000 open elements": base64("<a>".repeat(40_000)),
  "tags that do not end": base64("<a ".repeat(40_000)),
  siblings: base64(`<r>${"<a/>".repeat(30_000)}</r>`),
  blanks: base64(`<r${" ".repeat(120_000)}`),
  "100 MB, deflated": deflateRawSync(Buffer.alloc(100_000_000)).toString("base64"),
};

/** Of the bad answers, each posted 20 times, the one whose median is the longest. */
async function slowestRefusal(
  finish: (samlResponse: string) => Promise<unknown>,
): Promise<{ name: string; milliseconds: number }> {
  const { readSamlForm } = await built<typeof SamlForm>("http/saml.js");
  const app = express();
  const post: express.RequestHandler = async (req, res) => {
    await finish((req.body as { SAMLResponse: string }).SAMLResponse);
    res.end();
  };
  app.post("/acs", readSamlForm, post);
  const refuse: express.ErrorRequestHandler = (_error, _req, res, next) => {
    if (res.headersSent) next();
    else res.status(400).end();
  };
  app.use(refuse);
  const server = app.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  let slowest = { name: "", milliseconds: 0 };
  for (const [name, text] of Object.entries(BAD)) {
    const body = Buffer.from(new URLSearchParams({ SAMLResponse: text }).toString());
    const taken: number[] = [];
    for (let i = 0; i < 20; i += 1) taken.push(await timeToRefuse(port, body));
    if (median(taken) > slowest.milliseconds) slowest = { name, milliseconds: median(taken) };
  }
  server.close();
  return slowest;
}

async function timeToRefuse(port: number, body: Buffer): Promise<number> {
  const begin = performance.now();
  const headers = { "content-type": "application/x-www-form-urlencoded", "content-length": String(body.length) };
  const asking = request({ host: "127.0.0.1", port, path: "/acs", method: "POST", agent: false, headers });
  // What is not read is cut off after the answer.
  asking.on("error", () => undefined);
  const answered = once(asking, "response") as Promise<[IncomingMessage]>;
  asking.end(body);
  const [{ statusCode }] = await answered;
  const taken = performance.now() - begin;
  asking.destroy();
  if (statusCode !== 400) throw new Error(`a bad answer had the status ${statusCode}`);
  return taken;
}
