import { describe, expect, test } from "vitest";
import { activeNow, allStanding, changesBetween, withNext, withoutKey } from "../../src/keys/key-changes.ts";
import { importKeys } from "../../src/keys/key-format.ts";
import { standingAt, WHEN_TOLD, type KeyTimes } from "../../src/keys/key-states.ts";
import { newFederationKey, newKeyFile, newSecretKey } from "../../src/keys/new-keys.ts";
import type { KeyFile } from "../../src/keys/stored-keys.ts";

const HOUR = 60 * 60 * 1000;
const START = Date.parse("2026-11-01T00:00:00Z");
const iso = (hours: number): string => new Date(START + hours * HOUR).toISOString();

/** A key that is active from an hour after the start on, and maybe revoked at another. */
const key = (from: number, revoked?: number): KeyTimes & { from: number } => ({
  from,
  createdAt: iso(0),
  activeFrom: iso(from),
  ...(revoked !== undefined && { revokedAt: iso(revoked) }),
});

describe("what federation keys are at an hour", () => {
  test.each<[string, (KeyTimes & { from: number })[], number, string]>([
    ["the only one", [key(0)], 5, "0 active"],
    ["the only one, by a clock that is behind", [key(6)], 5, "6 active"],
    ["the next waits", [key(0), key(24)], 23.99, "0 active, 24 prepared"],
    ["the next takes over by itself", [key(0), key(24)], 24, "0 retired, 24 active"],
    ["what was signed is taken for an hour more", [key(0), key(24)], 24.99, "0 retired, 24 active"],
    ["and then not", [key(0), key(24)], 25, "0 dropped, 24 active"],
    ["three in a row", [key(0), key(24), key(48)], 30, "0 dropped, 24 active, 48 prepared"],
    ["the order in the file does not count", [key(24), key(0)], 24.5, "0 retired, 24 active"],
    ["the next was revoked before its time", [key(0), key(24, 5)], 30, "0 active, 24 revoked"],
    ["the active one was revoked, and another took over", [key(0, 5), key(5)], 6, "0 revoked, 5 active"],
    ["its successor counts by a clock that is behind", [key(0, 5), key(5)], 4.9, "0 revoked, 5 active"],
    ["nothing that was retired comes back", [key(0), key(24, 30), key(30)], 29.9, "0 dropped, 24 revoked, 30 active"],
    ["a retired one was revoked", [key(0, 24.5), key(24)], 24.6, "0 revoked, 24 active"],
  ])("%s", (_name, keys, hour, expected) => {
    const standing = standingAt("federation", keys, START + hour * HOUR);
    expect(standing.map(({ key: { from }, state }) => `${from} ${state}`).join(", ")).toBe(expected);
  });

  test.each<[string, KeyTimes[], number, string]>([
    ["the active one", [key(0), key(24, 30), key(30)], 31, "dropped, revoked, active"],
    ["a retired one", [key(0), key(24, 49), key(48)], 50, "dropped, revoked, active"],
    ["one that never sealed anything", [key(0), key(24, 5)], 6, "active, revoked"],
    ["the oldest one", [key(0, 49), key(24), key(48)], 50, "revoked, retired, active"],
  ])("nothing comes back that was ended under a revoked sealing key: %s", (_name, keys, hour, expected) => {
    const standing = standingAt("sealing", keys, START + hour * HOUR);
    expect(standing.map(({ state }) => state).join(", ")).toBe(expected);
  });

  test("none that may be used is a fault, not a choice", () => {
    expect(() => standingAt("federation", [key(0, 3)], START + 5 * HOUR)).toThrow("no key that may be used");
    expect(() => standingAt("oauth", [], START)).toThrow("no key that may be used for oauth");
  });

  test("a SAML key that waits for an operator's word becomes active by no clock", () => {
    const waiting = { ...key(24), activeFrom: WHEN_TOLD };
    const standing = standingAt("saml", [key(0), waiting], Date.parse("2999-01-01T00:00:00Z"));
    expect(standing.map(({ state, until }) => [state, until])).toEqual([
      ["active", undefined],
      ["prepared", undefined],
    ]);
    const revoked = standingAt("saml", [key(0, 5), waiting], START + 6 * HOUR);
    expect(revoked.map(({ state }) => state)).toEqual(["revoked", "active"]);
  });

  test("no SAML key at all is no fault: most brokers have none", () => {
    expect(standingAt("saml", [], START)).toEqual([]);
    expect(() => standingAt("saml", [key(0, 3)], START + 5 * HOUR)).toThrow("no key that may be used for saml");
  });

  test("each says when it is something else by itself", () => {
    const standing = standingAt("federation", [key(0), key(24), key(48)], START + 24.5 * HOUR);
    expect(standing.map(({ until }) => until && (until - START) / HOUR)).toEqual([25, 48, 48]);
  });
});

/** A file at the start, and the federation key of it. */
async function begun(): Promise<{ file: KeyFile; first: string }> {
  const file = await newKeyFile("ES256", "rolecall.acme.example/ledger", new Date(START));
  return { file, first: file.keys[0]?.kid ?? "" };
}

const next = (hours: number) =>
  newFederationKey("ES256", { createdAt: new Date(START), activeFrom: new Date(START + hours * HOUR) });

async function published(file: KeyFile, hours: number): Promise<string[]> {
  return (await importKeys(file, START + hours * HOUR)).federation.map(({ kid }) => kid);
}

describe("rotation", () => {
  test("publishes the next key at once, and the former one for an hour after", async () => {
    const { file, first } = await begun();
    const fresh = await next(24);
    const both = withNext(file, fresh, START);
    expect(await published(both, 0)).toEqual([first, fresh.kid]);
    expect(await published(both, 24)).toEqual([fresh.kid, first]);
    expect(await published(both, 25)).toEqual([fresh.kid]);
  });

  test("keeps no private half of what is history, and no other key loses its own", async () => {
    const { file, first } = await begun();
    const fresh = await next(24);
    const later = withNext(withNext(file, fresh, START), await next(48), START + 26 * HOUR);
    const dropped = later.keys.find(({ kid }) => kid === first);
    expect(dropped).toMatchObject({ kid: first, certificate: expect.stringMatching(/./) as string });
    expect(dropped).not.toHaveProperty("privateKey");
    const others = later.keys.filter(({ kid }) => kid !== first);
    expect(others.every((it) => "privateKey" in it || "secret" in it)).toBe(true);
  });

  test("prepares one key at a time, which can be active at once", async () => {
    const { file, first } = await begun();
    const fresh = await next(24);
    const both = withNext(file, fresh, START);
    const another = await next(30);
    expect(() => withNext(both, another, START + HOUR)).toThrow(`${fresh.kid} is prepared for federation already`);
    expect(() => withNext(both, fresh, START + 30 * HOUR)).toThrow("is in keys.json already");
    expect(await published(activeNow(both, fresh, START + HOUR), 1)).toEqual([fresh.kid, first]);
  });

  test("of secrets lets old cookies and sealed values be read, and new ones be made by the new secret", async () => {
    const { file } = await begun();
    const activeFrom = new Date(START + HOUR);
    const cookies = newSecretKey("cookies", { createdAt: new Date(START), activeFrom });
    const sealing = newSecretKey("sealing", { createdAt: new Date(START), activeFrom });
    const rotated = withNext(withNext(file, cookies, START), sealing, START);
    const before = await importKeys(file, START);
    const prepared = await importKeys(rotated, START);
    const active = await importKeys(rotated, START + HOUR);
    expect(prepared.cookieKeys[0]).toBe(before.cookieKeys[0]);
    expect(active.cookieKeys).toEqual(prepared.cookieKeys.toReversed());
    expect(active.sealingKeys).toEqual(prepared.sealingKeys.toReversed());
    expect((await importKeys(rotated, START + 8 * 24 * HOUR)).cookieKeys).toHaveLength(2);
    expect((await importKeys(rotated, START + 8 * 25 * HOUR)).cookieKeys).toHaveLength(1);
  });
});

describe("revocation", () => {
  const noFresh = (): Promise<never> => Promise.reject(new Error("no new key is needed"));

  test("of the active key: the prepared one takes over at once", async () => {
    const { file, first } = await begun();
    const fresh = await next(24);
    const now = START + HOUR;
    const before = withNext(file, fresh, START);
    const after = await withoutKey(before, first, noFresh, now);
    expect(await published(after, 1)).toEqual([fresh.kid]);
    expect(after.keys.find(({ kid }) => kid === first)).not.toHaveProperty("privateKey");
    expect(changesBetween(allStanding(before, now), allStanding(after, now))).toEqual([
      { use: "federation", kid: first, from: "active", to: "revoked" },
      { use: "federation", kid: fresh.kid, from: "prepared", to: "active" },
    ]);
  });

  test("of the only key: a new one takes over", async () => {
    const { file, first } = await begun();
    const fresh = await next(1);
    expect(await published(await withoutKey(file, first, () => Promise.resolve(fresh), START + HOUR), 1)).toEqual([
      fresh.kid,
    ]);
  });

  test("of a prepared or retired key leaves the active one; nothing is revoked twice, nor by a wrong name", async () => {
    const { file, first } = await begun();
    const fresh = await next(24);
    const both = withNext(file, fresh, START);
    expect(await published(await withoutKey(both, fresh.kid, noFresh, START), 30)).toEqual([first]);
    const gone = await withoutKey(both, first, noFresh, START + 24.5 * HOUR);
    expect(await published(gone, 24.5)).toEqual([fresh.kid]);
    await expect(withoutKey(gone, first, noFresh, START + 25 * HOUR)).rejects.toThrow("was revoked at");
    await expect(withoutKey(gone, "nobody", noFresh, START)).rejects.toThrow("no key in keys.json");
  });
});
