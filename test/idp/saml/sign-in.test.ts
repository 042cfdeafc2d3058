import { afterAll, beforeAll, expect, test } from "vitest";
import { reasonOf, startSamlCompany, type SamlCompany } from "../../support/saml-company.ts";

let company: SamlCompany;
beforeAll(async () => {
  company = await startSamlCompany();
});
afterAll(() => company.close());

test("a person signs in by SAML", async () => {
  const browser = company.browser();
  const answer = await browser.signIn();
  console.log(company.logged.slice(-3).map((line) => JSON.stringify(line)));
  expect(await reasonOf(answer)).toBeUndefined();
  expect(answer.status).toBe(303);
  expect(await browser.isSignedIn()).toBe(true);
});
