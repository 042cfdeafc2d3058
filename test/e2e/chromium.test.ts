import type { Browser, Page } from "playwright-core";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";
import { startChromium } from "../support/chromium.ts";
import { Machine } from "../support/command-line.ts";
import { startCompany, type Company } from "../support/company.ts";

let company: Company;
let chromium: Browser;
let page: Page;

beforeAll(async () => {
  [company, chromium] = await Promise.all([startCompany(), startChromium()]);
});
afterEach(() => page.context().close());
afterAll(async () => {
  await chromium.close();
  await company.close();
});

async function open(url: string): Promise<void> {
  const context = await chromium.newContext();
  page = await context.newPage();
  await page.goto(url);
}

test("somebody signs in, sees who they are to AWS and why, and signs out", async () => {
  await open(company.config.baseUrl);
  await page.getByRole("link", { name: "Continue with Okta", exact: true }).click();
  await page.getByRole("button", { name: "Jane Doe" }).click();

  expect(new URL(page.url()).origin).toBe(company.config.baseUrl);
  const text = await page.getByRole("main").innerText();
  expect(text).toContain("jane@acme.example");
  expect(text).toContain("arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example");
  expect(text).toContain("iamPrincipal/team");
  expect(text).toContain("cc-1042");

  await page.getByRole("button", { name: "Sign out" }).click();
  expect(await page.getByRole("link", { name: "Continue with Okta", exact: true }).isVisible()).toBe(true);
  await page.goBack();
  expect(await page.getByRole("main").innerText()).not.toContain("jane@acme.example");
});

/** By SAML, the answer comes by a form that another site posts; Auth0's request goes by a form, too. */
test.for([
  ["Okta", "Jane Doe", "HTTP-Redirect"],
  ["Entra ID", "Priya Nair", "HTTP-Redirect"],
  ["Auth0", "Ana Silva", "HTTP-POST"],
] as const)("%s by SAML shows the same name, tags and ARN as by OIDC", async ([label, name, binding]) => {
  const accounts: string[] = [];
  for (const way of [label, `${label} (SAML)`]) {
    await open(company.config.baseUrl);
    const atProvider = page.waitForRequest((request) => new URL(request.url()).hostname === "localhost");
    await page.getByRole("link", { name: `Continue with ${way}`, exact: true }).click();
    const asked = await atProvider;
    if (way !== label) expect(asked.method()).toBe(binding === "HTTP-POST" ? "POST" : "GET");
    await page.getByRole("button", { name }).click();
    await page.waitForURL(`${company.config.baseUrl}/`);
    const main = page.getByRole("main");
    accounts.push(
      JSON.stringify([await main.getByRole("heading").allInnerTexts(), await main.locator("table").allInnerTexts()]),
    );
    expect(await main.innerText()).toContain("assumed-role/BedrockShared/");
    if (way === label) await page.context().close();
  }
  expect(accounts[1]).toBe(accounts[0]);
});

test("the keyboard alone is enough", async () => {
  await open(company.config.baseUrl);
  await tabTo(page, "Continue with Entra ID");
  await page.keyboard.press("Enter");
  await page.waitForURL(/localhost/);
  await tabTo(page, "Priya Nair");
  await page.keyboard.press("Enter");
  await page.waitForURL(`${company.config.baseUrl}/`);
  expect(await page.getByRole("main").innerText()).toContain("priya@emea.acme.example");
});

test("the command line is let in by a person in Chromium", async () => {
  const machine = new Machine();
  const login = machine.start(["login", "--no-browser", "--broker", company.config.baseUrl]);
  await open(await login.address());
  await page.getByRole("link", { name: "Continue with Auth0", exact: true }).click();
  await page.getByRole("button", { name: "Ana Silva" }).click();
  expect(await page.getByRole("main").innerText()).toContain("ana@labs.acme.example");
  await page.getByRole("button", { name: "Allow" }).click();
  await page.waitForURL(/127\.0\.0\.1:\d+\/callback/);

  const { code, stdout } = await login.done;
  expect(code).toBe(0);
  expect(stdout).toContain("ana@labs.acme.example");
  const { stdout: credentials } = await machine.run(["credentials"]);
  expect(Object.keys(JSON.parse(credentials) as object).sort()).toEqual([
    "AccessKeyId",
    "Expiration",
    "SecretAccessKey",
    "SessionToken",
    "Version",
  ]);
});

test.for([
  ["okta", "Okta", "Luis Vega", "email_unverified", "has not been verified"],
  ["entra", "Entra ID", "Gail Visitor", "guest_refused", "Guest accounts"],
  ["entra", "Entra ID", "Olga Petrova", "groups_overage", "so many groups"],
] as const)("%s refuses %3$s", async ([provider, label, name, code, sentence]) => {
  await open(company.config.baseUrl);
  await page.getByRole("link", { name: `Continue with ${label}`, exact: true }).click();
  await page.getByRole("button", { name }).click();
  expect(await page.getByRole("main").innerText()).toContain(sentence);
  const denied = (await company.rows()).filter(({ type, reason }) => type === "login.denied" && reason === code);
  expect(denied).toEqual([expect.objectContaining({ provider, outcome: "refused" })]);
});

async function tabTo(on: Page, name: string): Promise<void> {
  for (let presses = 0; presses < 20; presses += 1) {
    await on.keyboard.press("Tab");
    const focused = await on.evaluate("document.activeElement?.textContent ?? ''");
    if (String(focused).includes(name)) return;
  }
  throw new Error(`no way to ${name} by the Tab key`);
}
