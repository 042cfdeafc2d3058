import { expect } from "vitest";
import { reason, type ReasonCode } from "../../../src/flow/errors.ts";
import type { StandInId } from "../../../src/sandbox/idp.ts";
import type { Claims } from "../../support/hostile-idp.ts";
import { accessToken, credentials, signIn } from "./sign-in.ts";
import type { Target } from "./target.ts";

/** One sign-in with `claims` is refused: its page, no session, no call of STS, and exactly one row that says why. */
export async function expectDenied(target: Target, id: StandInId, claims: Claims, code: ReasonCode): Promise<void> {
  const called = target.aws.calls();
  const { answer, rows } = await target.recorded(() => signIn(target, id, claims));
  expect(rows.map(({ type, reason }) => `${type} ${String(reason)}`)).toEqual([`login.denied ${code}`]);
  expect(rows[0]).toMatchObject({ provider: id, client: "browser", outcome: "refused" });
  expect(answer.answer.status).toBe(reason(code).status);
  expect(await answer.answer.text()).toContain(`<code>${code}</code>`);
  expect(answer.jar.cookies.has("rolecall")).toBe(false);
  expect(target.aws.calls()).toBe(called);
}

/** The honest case: somebody gets in, which is one row. */
export async function expectSignedIn(target: Target, id: StandInId, claims: Claims): Promise<void> {
  const { answer, rows } = await target.recorded(() => signIn(target, id, claims));
  expect(answer.answer.status).toBe(303);
  expect(answer.jar.cookies.has("rolecall")).toBe(true);
  expect(rows.filter(({ type }) => type !== "identity.bound").map(({ type }) => type)).toEqual(["login.succeeded"]);
}

/** The honest case, to its end: the same person gets in, and credentials of their own with these tags. */
export async function expectCredentials(
  target: Target,
  id: StandInId,
  claims: Claims,
  expected: { readonly sessionName: string | RegExp; readonly tags: Readonly<Record<string, string>> },
): Promise<void> {
  const { answer, rows } = await target.recorded(async () =>
    credentials(target, await accessToken(target, id, claims)),
  );
  expect(answer).toMatchObject({ status: 200, body: { tags: expected.tags } });
  expect(rows.at(-1)).toMatchObject({ type: "credentials.issued", tags: expected.tags });
  expect(rows.at(-1)?.sessionName).toMatch(expected.sessionName);
  expect(rows.filter(({ outcome }) => outcome === "refused")).toEqual([]);
}
