import { createHash, generateKeyPairSync, randomBytes, type KeyObject } from "node:crypto";
import { calculateJwkThumbprint, exportJWK } from "jose";
import { beforeAll, expect, test } from "vitest";
import { withNext } from "../../src/keys/key-changes.ts";
import { importKeys, readKeyFile } from "../../src/keys/key-format.ts";
import { newFederationKey } from "../../src/keys/new-keys.ts";

/** keys.json as Rolecall 0.1 wrote it: RS256 in front of an older ES256 key, two cookie keys. */
let text: string;
let kids: { active: string; older: string; oauth: string };
const cookieKeys = [secret(), secret()];
const sealingKey = secret();
const NOW = Date.parse("2026-11-20T00:00:00Z");

function secret(): string {
  return randomBytes(32).toString("base64url");
}

async function federationKey(algorithm: "ES256" | "RS256", createdAt: string) {
  const at = new Date(createdAt);
  const { kid, certificate, privateKey } = await newFederationKey(algorithm, { createdAt: at, activeFrom: at });
  return { kid, algorithm, createdAt, privateKey, certificate };
}

async function oauthKey(key: KeyObject, alg: string) {
  const jwk = await exportJWK(key);
  return { ...jwk, kid: await calculateJwkThumbprint(jwk), alg, use: "sig" };
}

beforeAll(async () => {
  const active = await federationKey("RS256", "2026-03-01T00:00:00.000Z");
  const older = await federationKey("ES256", "2026-02-01T00:00:00.000Z");
  const es256 = await oauthKey(generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey, "ES256");
  const rs256 = await oauthKey(generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey, "RS256");
  const checkpoint = generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" });
  kids = { active: active.kid, older: older.kid, oauth: es256.kid };
  text = JSON.stringify({
    version: 1,
    ...{ federation: [active, older], oauth: [es256, rs256], cookieKeys, sealingKey },
    checkpoint: { name: "rolecall.acme.example/ledger", privateKey: checkpoint },
  });
});

test("every key of version 1 goes on as what it was", async () => {
  const keys = await importKeys(readKeyFile(text), NOW);
  expect(keys.federation[0]).toMatchObject({ kid: kids.active, algorithm: "RS256" });
  expect(keys.oauth[0]).toMatchObject({ kid: kids.oauth, alg: "ES256" });
  expect(keys.oauth[0]?.d).toBeDefined();
  expect(keys.cookieKeys[0]).toBe(cookieKeys[0]);
  expect(keys.sealingKeys).toEqual([Buffer.from(sealingKey, "base64url")]);
  expect(readKeyFile(text).checkpoint?.name).toBe("rolecall.acme.example/ledger");
});

test("every instance that has a copy reads the same, with no secret in an ID", () => {
  const file = readKeyFile(text);
  expect(readKeyFile(text)).toEqual(file);
  const cookies = file.keys.find((key) => key.use === "cookies" && key.secret === cookieKeys[0]);
  expect(cookies?.kid).toHaveLength(16);
  expect(cookieKeys[0]).not.toContain(cookies?.kid);
  expect(
    createHash("sha256")
      .update(cookieKeys[0] ?? "")
      .digest("base64url"),
  ).not.toContain(cookies?.kid);
});

test("a key that was active long before is dropped, however the two were made", async () => {
  const { federation } = await importKeys(readKeyFile(text), NOW);
  expect(federation.map(({ kid }) => kid)).toEqual([kids.active]);
  const swapped = JSON.parse(text) as { federation: unknown[] };
  swapped.federation.reverse();
  const back = await importKeys(readKeyFile(JSON.stringify(swapped)), NOW);
  expect(back.federation[0].kid).toBe(kids.older);
});

test("a rotation writes version 2, which reads as the same keys", async () => {
  const beginning = { createdAt: new Date(NOW), activeFrom: new Date(NOW + 1000) };
  const rotated = withNext(readKeyFile(text), await newFederationKey("ES256", beginning), NOW);
  const again = readKeyFile(JSON.stringify(rotated));
  expect(again).toEqual(rotated);
  expect(again.version).toBe(2);
  const keys = await importKeys(again, NOW);
  expect(keys.federation.map(({ kid }) => kid)).toEqual([kids.active, again.keys.at(-1)?.kid]);
  expect(keys.cookieKeys[0]).toBe(cookieKeys[0]);
});

test.each([
  ["federation", { federation: [] }],
  ["oauth.0", { oauth: [{ kty: "RSA" }] }],
  ["sealingKey", { sealingKey: "short" }],
])("a broken one is refused by the name of the field: %s", (field, change) => {
  expect(() => readKeyFile(JSON.stringify({ ...(JSON.parse(text) as object), ...change }))).toThrow(field);
});
