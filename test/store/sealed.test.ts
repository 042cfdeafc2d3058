import { createCipheriv, hkdfSync, randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { memoryStore } from "../../src/store/memory.ts";
import { sealed } from "../../src/store/sealed.ts";
import { recordingLog } from "../support/log.ts";

function sealedStore() {
  const inner = memoryStore();
  const log = recordingLog();
  return { inner, log, store: sealed(inner, randomBytes(32), log) };
}

/** What somebody who can write Redis does to the value at `victim` (threat 28). */
const tamperings: [name: string, tampered: (value: string, other: string) => string][] = [
  ["another key's value", (_value, other) => other],
  ["a plain value", () => '{"accountId":"admin"}'],
  ["nothing", () => ""],
  ["the version alone", () => "v1."],
  ["a version of their own", (value) => value.replace("v1.", "v0.")],
  ["a cut value", (value) => value.slice(0, -4)],
  [
    "a shortened tag",
    (value) => `v1.${Buffer.from(value.slice(3), "base64url").subarray(0, 27).toString("base64url")}`,
  ],
  [
    "one changed bit",
    (value) => {
      const bytes = Buffer.from(value.slice(3), "base64url");
      bytes.writeUInt8(bytes.readUInt8(20) ^ 1, 20);
      return `v1.${bytes.toString("base64url")}`;
    },
  ],
];

describe("a sealed store", () => {
  it.each(tamperings)("reads %s as absent, and says so in the log without the value", async (_name, tamper) => {
    const { inner, log, store } = sealedStore();
    await store.set("session:victim", "the victim's session", 60);
    await store.set("session:attacker", "the attacker's session", 60);
    const value = tamper((await inner.get("session:victim")) ?? "", (await inner.get("session:attacker")) ?? "");
    await inner.set("session:victim", value, 60);

    expect(await store.get("session:victim")).toBeUndefined();
    const both = ["session:attacker", "session:victim"];
    expect(await store.getAll(both)).toEqual(["the attacker's session", undefined]);
    expect(await store.take("session:victim")).toBeUndefined();
    expect(log.lines.map((line) => line.message)).toEqual(Array(3).fill("a stored value is not ours"));
    expect(JSON.stringify(log.lines)).not.toContain("session of");
  });

  it("holds no text in the clear, and no two values alike", async () => {
    const { inner, store } = sealedStore();
    await store.set("a", "refresh token", 60);
    await store.add("b", "refresh token", 60);
    await store.setUnless("c:ended", "c", "refresh token", 60);
    const values = await Promise.all(["a", "b", "c"].map((key) => inner.get(key)));
    expect(new Set(values).size).toBe(3);
    for (const value of values) {
      expect(value).toMatch(/^v1\.[\w-]+$/);
      expect(Buffer.from(value?.slice(3) ?? "", "base64url").toString()).not.toContain("refresh");
    }
  });

  it("derives each place's key by HKDF, so that what is stored stays readable", async () => {
    const inner = memoryStore();
    const key = randomBytes(32);
    const placeKey = new Uint8Array(hkdfSync("sha256", key, "", "rolecall store v1.a", 32));
    const nonce = randomBytes(12);
    const cipher = createCipheriv("aes-256-gcm", placeKey, nonce).setAAD(Buffer.from("a"));
    const parts = [nonce, cipher.update("value", "utf8"), cipher.final(), cipher.getAuthTag()];
    await inner.set("a", `v1.${Buffer.concat(parts).toString("base64url")}`, 60);
    expect(await sealed(inner, key, recordingLog()).get("a")).toBe("value");
  });

  it("is not opened by another key", async () => {
    const { inner, store } = sealedStore();
    await store.set("a", "value", 60);
    expect(await sealed(inner, randomBytes(32), recordingLog()).get("a")).toBeUndefined();
  });

  it("takes a key of 32 bytes only", () => {
    expect(() => sealed(memoryStore(), randomBytes(16), recordingLog())).toThrow("32 bytes");
  });
});

it("rotates: a new key seals, the old one still opens, and neither is enough for the other's values", async () => {
  const [before, after] = [randomBytes(32), randomBytes(32)];
  const inner = memoryStore();
  let keys = [before];
  const store = sealed(inner, () => keys, recordingLog());
  await store.set("session:old", "signed in before", 60);
  keys = [after, before];
  await store.set("session:new", "signed in after", 60);
  expect(await store.get("session:old")).toBe("signed in before");
  expect(await store.get("session:new")).toBe("signed in after");
  expect(await sealed(inner, before, recordingLog()).get("session:new")).toBeUndefined();
  expect(await sealed(inner, after, recordingLog()).get("session:old")).toBeUndefined();
});
