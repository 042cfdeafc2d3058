import { once } from "node:events";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { inflateRawSync } from "node:zlib";
import express from "express";
import type { Browser } from "playwright-core";
import { afterAll, beforeAll, expect, test } from "vitest";
import { signedResponse } from "../../src/sandbox/saml/sign.ts";
import { startChromium } from "../support/chromium.ts";
import { startSamlCompany, type SamlCompany } from "../support/saml-company.ts";

/** The provider is at `localhost` and the broker at `127.0.0.1`: two sites, so that no cookie but a SameSite=None one comes along. */

let provider: Server;
let company: SamlCompany;
let chromium: Browser;
/** The Response that the provider's page has posted last. */
let posted: { xml: string; relayState: string } | undefined;

beforeAll(async () => {
  provider = createServer(providerApp());
  provider.listen(0, "localhost");
  await once(provider, "listening");
  const entryPoint = `http://localhost:${(provider.address() as AddressInfo).port}/sso`;
  [company, chromium] = await Promise.all([
    startSamlCompany({
      provider: { entryPoint, label: "By redirect" },
      providers: [{ id: "posted", label: "By form", requestBinding: "HTTP-POST" }],
    }),
    startChromium(),
  ]);
});
afterAll(async () => {
  await chromium.close();
  await company.close();
  provider.close();
});

/** Lets Jane in at once, and posts the answer from its own page. */
function providerApp(): RequestListener {
  const app = express();
  const answer = (request: string, relayState: string): string => {
    const requestId = / ID="([^"]+)"/.exec(request)?.[1] ?? "";
    const acs = / AssertionConsumerServiceURL="([^"]+)"/.exec(request)?.[1] ?? "";
    const id = acs.split("/").at(-2) ?? "";
    const xml = signedResponse(company.browser().facts({ provider: id, requestId }), company.key);
    posted = { xml, relayState };
    const field = (name: string, value: string): string => `<input type="hidden" name="${name}" value="${value}">`;
    const fields = field("SAMLResponse", Buffer.from(xml).toString("base64")) + field("RelayState", relayState);
    return `<!doctype html><form method="post" action="${acs}">${fields}<button>Go on</button></form>`;
  };
  app.get("/sso", (req, res) => {
    const { SAMLRequest: request, RelayState: relayState } = req.query as Record<string, string>;
    res.send(answer(inflateRawSync(Buffer.from(request ?? "", "base64")).toString(), relayState ?? ""));
  });
  app.post("/sso", express.urlencoded({ extended: false }), (req, res) => {
    const { SAMLRequest: request, RelayState: relayState } = req.body as Record<string, string>;
    res.send(answer(Buffer.from(request ?? "", "base64").toString(), relayState ?? ""));
  });
  return app as RequestListener;
}

test.each(["By redirect", "By form"])(
  "%s: Chromium brings the sign-in cookie along with another site's POST",
  async (label) => {
    const context = await chromium.newContext();
    const page = await context.newPage();
    await page.goto(company.baseUrl);
    await page.getByRole("link", { name: label }).click();
    await page.waitForURL(/localhost/);
    await page.getByRole("button", { name: "Go on" }).click();
    await page.waitForURL(`${company.baseUrl}/`);
    expect(await page.getByRole("main").innerText()).toContain("jane@acme.example");

    // The same answer in another browser: nothing of the first one's cookies is there.
    const other = await (await chromium.newContext()).newPage();
    await other.goto(company.baseUrl);
    const answer = await other.request.post(`${company.baseUrl}/login/${label === "By form" ? "posted" : "saml"}/acs`, {
      form: { SAMLResponse: Buffer.from(posted?.xml ?? "").toString("base64"), RelayState: posted?.relayState ?? "" },
    });
    expect(answer.status()).toBe(400);
    await other.context().close();
    await context.close();
  },
);
