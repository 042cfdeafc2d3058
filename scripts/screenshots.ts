/** Draws docs/images: the pages as they look in Chromium, light and dark, with somebody of the made-up company. */
import { fileURLToPath } from "node:url";
import type { Page } from "playwright-core";
import { startChromium } from "../test/support/chromium.ts";
import { Machine } from "../test/support/command-line.ts";
import { startCompany } from "../test/support/company.ts";

const IMAGES = fileURLToPath(new URL("../docs/images/", import.meta.url));

const company = await startCompany();
const chromium = await startChromium();
const { baseUrl } = company.config;
try {
  for (const colorScheme of ["light", "dark"] as const) {
    const context = await chromium.newContext({ colorScheme, viewport: { width: 900, height: 640 } });
    const page = await context.newPage();
    await page.goto(baseUrl);
    await draw(page, `sign-in-${colorScheme}`);
    await page.getByRole("link", { name: "Okta" }).click();
    await page.getByRole("button", { name: "Jane Doe" }).click();
    await draw(page, `home-${colorScheme}`);

    const machine = new Machine();
    const login = machine.start(["login", "--no-browser", "--broker", baseUrl]);
    await page.goto(await login.address());
    await draw(page, `approval-${colorScheme}`);
    await page.getByRole("button", { name: "Allow" }).click();
    await login.done;

    await context.clearCookies();
    await page.goto(baseUrl);
    await page.getByRole("link", { name: "Entra ID" }).click();
    await page.getByRole("button", { name: "Gail Visitor" }).click();
    await draw(page, `refusal-${colorScheme}`);
    await context.close();
  }
} finally {
  await chromium.close();
  await company.close();
}

async function draw(page: Page, name: string): Promise<void> {
  await page.screenshot({ path: `${IMAGES}${name}.png`, fullPage: true });
}
