import { execFile } from "node:child_process";
import { X509Certificate, createPrivateKey, generateKeyPairSync, randomUUID, sign, verify } from "node:crypto";
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { calculateJwkThumbprint, exportJWK } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KeyFileError, openKeys } from "../../src/keys/key-file.ts";

const ES256 = { signingAlgorithm: "ES256", origin: "rolecall.acme.example" } as const;
const RS256 = { ...ES256, signingAlgorithm: "RS256" } as const;

let stateDir: string;
let path: string;

beforeEach(async () => {
  stateDir = await mkdtemp(join(tmpdir(), "rolecall-keys-"));
  path = join(stateDir, "keys.json");
});
afterEach(async () => {
  await rm(stateDir, { recursive: true });
});

describe("the first start", () => {
  test("makes folder and file for the broker alone", async () => {
    const deep = join(stateDir, "var", "lib");
    await openKeys(deep, ES256);
    expect((await stat(deep)).mode & 0o777).toBe(0o700);
    expect((await stat(join(deep, "keys.json"))).mode & 0o777).toBe(0o600);
    expect(await readdir(deep)).toEqual(["keys.json"]);
  });

  test("makes a key of its own for each use, and the next start finds the same", async () => {
    const first = await openKeys(stateDir, ES256);
    const second = await openKeys(stateDir, ES256);
    expect(second.sealingKey).toEqual(first.sealingKey);
    expect(second.sealingKey).toHaveLength(32);
    expect(second.cookieKeys).toEqual(first.cookieKeys);
    expect(second.oauth).toEqual(first.oauth);
    expect(second.checkpoint.name).toBe("rolecall.acme.example");
    expect(second.checkpoint.privateKey.equals(first.checkpoint.privateKey)).toBe(true);
    expect(second.federation[0].privateKey.equals(first.federation[0].privateKey)).toBe(true);
    const kids = [...first.oauth.map((jwk) => jwk.kid), ...first.federation.map((key) => key.kid)];
    expect(new Set(kids).size).toBe(3);
  });

  test.each(["ES256", "RS256"] as const)(
    "certifies the %s key that tokens are signed with",
    async (signingAlgorithm) => {
      const [key] = (await openKeys(stateDir, { ...ES256, signingAlgorithm })).federation;
      const certificate = new X509Certificate(Buffer.from(key.certificate, "base64"));
      expect(certificate.checkPrivateKey(key.privateKey)).toBe(true);
      expect(certificate.verify(certificate.publicKey)).toBe(true);
      expect(await calculateJwkThumbprint(await exportJWK(certificate.publicKey))).toBe(key.kid);
      const data = Buffer.from("signed");
      expect(verify("sha256", data, certificate.publicKey, sign("sha256", data, key.privateKey))).toBe(true);
    },
  );

  test("of six processes at once gives all of them one set", async () => {
    const script = `
      const { openKeys } = await import(${JSON.stringify(new URL("../../src/keys/key-file.ts", import.meta.url).href)});
      const keys = await openKeys(${JSON.stringify(stateDir)}, ${JSON.stringify(ES256)});
      console.log(keys.federation[0].kid, Buffer.from(keys.sealingKey).toString("hex"));`;
    const run = (): Promise<{ stdout: string }> =>
      promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
    const answers = await Promise.all(Array.from({ length: 6 }, run));
    expect(new Set(answers.map(({ stdout }) => stdout)).size).toBe(1);
    expect(await readdir(stateDir)).toEqual(["keys.json"]);
  });
});

describe("another signing algorithm", () => {
  test("puts a key in front, keeps the old one published, and goes back to it", async () => {
    const [es256] = (await openKeys(stateDir, ES256)).federation;
    const both = await openKeys(stateDir, RS256);
    expect(both.federation.map((key) => key.algorithm)).toEqual(["RS256", "ES256"]);
    expect(both.federation[1]?.kid).toBe(es256.kid);
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    const back = await openKeys(stateDir, ES256);
    expect(back.federation.map((key) => key.kid)).toEqual([es256.kid, both.federation[0].kid]);
  });

  test("leaves every other key as it was", async () => {
    const before = await openKeys(stateDir, ES256);
    const after = await openKeys(stateDir, RS256);
    expect([after.oauth, after.cookieKeys, after.sealingKey]).toEqual([
      before.oauth,
      before.cookieKeys,
      before.sealingKey,
    ]);
  });

  test("of two starts at once adds one key", async () => {
    await openKeys(stateDir, ES256);
    const [one, other] = await Promise.all([openKeys(stateDir, RS256), openKeys(stateDir, RS256)]);
    expect(one.federation.map((key) => key.kid)).toEqual(other.federation.map((key) => key.kid));
    expect(one.federation).toHaveLength(2);
  });
});

interface Content {
  federation: Record<string, unknown>[];
  oauth: Record<string, unknown>[];
  sealingKey: unknown;
  checkpoint: Record<string, unknown>;
}

const firstOf = (content: Content): Record<string, unknown> => content.federation[0] ?? {};

describe("a file that can't be trusted is refused, kept as it is, and not quoted", () => {
  const otherKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const otherPem = otherKey.export({ type: "pkcs8", format: "pem" });
  /** Changes the content, or returns what is written in its place. */
  const rows: [string, string, (content: Content) => unknown][] = [
    ["not JSON", "is not JSON", () => "{"],
    ["empty", "is not JSON", () => ""],
    ["a list", "is not an object", () => "[]"],
    ["a field too many", "is not an object", (content) => void Object.assign(content, { extra: 1 })],
    ["no federation key", "federation", (content) => void (content.federation = [])],
    ["a short sealing key", "sealingKey", (content) => void (content.sealingKey = "c2hvcnQ")],
    ["another private key", "federation.0", (content) => void (firstOf(content)["privateKey"] = otherPem)],
    ["a broken private key", "federation.0.privateKey", (content) => void (firstOf(content)["privateKey"] = "PEM")],
    ["another kid", "federation.0", (content) => void (firstOf(content)["kid"] = "other")],
    ["another algorithm", "federation.0", (content) => void (firstOf(content)["algorithm"] = "RS256")],
    ["a certificate that is none", "federation.0", (content) => void (firstOf(content)["certificate"] = "AAAA")],
    ["a broken OAuth key", "oauth.0", (content) => void (content.oauth = [{ kty: "RSA" }])],
    ["a checkpoint key of another kind", "checkpoint", (content) => void (content.checkpoint["privateKey"] = otherPem)],
    ["a checkpoint name with a space", "checkpoint.name", (content) => void (content.checkpoint["name"] = "a b")],
  ];

  test.each(rows)("%s", async (_name, message, spoil) => {
    await openKeys(stateDir, ES256);
    const content = JSON.parse(await readFile(path, "utf8")) as Content;
    const spoilt = spoil(content);
    const written = typeof spoilt === "string" ? spoilt : JSON.stringify(content);
    await writeFile(path, written);

    const error = await openKeys(stateDir, ES256).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(KeyFileError);
    const said = error as KeyFileError;
    expect(said.message).toContain(path);
    expect(said.message).toContain(message);
    expect(said.cause).toBeUndefined();
    expect(said.message).not.toMatch(/BEGIN|PRIVATE|"d"/);
    expect(await readFile(path, "utf8")).toBe(written);
  });

  test("an RSA key that is too small", async () => {
    await openKeys(stateDir, RS256);
    const content = JSON.parse(await readFile(path, "utf8")) as Content;
    const small = generateKeyPairSync("rsa", { modulusLength: 1024 }).privateKey;
    firstOf(content)["privateKey"] = small.export({ type: "pkcs8", format: "pem" });
    await writeFile(path, JSON.stringify(content));
    await expect(openKeys(stateDir, RS256)).rejects.toThrow("does not fit its algorithm");
  });

  test.each([0o640, 0o604, 0o620, 0o660])("mode %o", async (mode) => {
    await openKeys(stateDir, ES256);
    await chmod(path, mode);
    await expect(openKeys(stateDir, ES256)).rejects.toThrow(`${path} can be read or written by others`);
  });

  test("a folder that others can write to", async () => {
    await chmod(stateDir, 0o777);
    await expect(openKeys(stateDir, ES256)).rejects.toThrow(`${stateDir} can be written to by others`);
  });

  test("a folder in the file's place", async () => {
    await mkdir(path, { mode: 0o700 });
    await expect(openKeys(stateDir, ES256)).rejects.toThrow(`${path} can't be used: EISDIR`);
  });

  test("a lock that a killed process left", async () => {
    await writeFile(`${path}.lock`, "");
    await expect(openKeys(stateDir, ES256)).rejects.toThrow("keys.json.lock is in the way");
  });
});

test("a copy of the file works elsewhere: nothing in it depends on the place", async () => {
  const first = await openKeys(stateDir, ES256);
  const elsewhere = join(stateDir, randomUUID());
  await mkdir(elsewhere, { mode: 0o700 });
  await copyFile(path, join(elsewhere, "keys.json"));
  await chmod(join(elsewhere, "keys.json"), 0o600);
  expect((await openKeys(elsewhere, ES256)).federation[0].kid).toBe(first.federation[0].kid);
});

test("the OAuth keys are usable as they stand", async () => {
  const { oauth } = await openKeys(stateDir, ES256);
  expect(oauth.map((jwk) => [jwk.alg, jwk.use])).toEqual([
    ["ES256", "sig"],
    ["RS256", "sig"],
  ]);
  for (const jwk of oauth) expect(createPrivateKey({ key: jwk, format: "jwk" }).type).toBe("private");
});
