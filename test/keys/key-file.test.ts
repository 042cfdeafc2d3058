import { execFile } from "node:child_process";
import { X509Certificate, createPrivateKey, generateKeyPairSync, randomUUID, sign, verify } from "node:crypto";
import { chmod, copyFile, mkdir, mkdtemp, readFile, readdir, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { calculateJwkThumbprint, exportJWK } from "jose";
import { afterEach, beforeEach, describe, expect, test } from "vitest";
import { KeyFileError, openKeys } from "../../src/keys/key-file.ts";
import { importKeys } from "../../src/keys/key-format.ts";

const ES256 = { signingAlgorithm: "ES256", origin: "rolecall.acme.example" } as const;
const AGO = "2026-01-01T00:00:00.000Z";
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
    expect(await openKeys(stateDir, ES256)).toEqual(first);
    const keys = await importKeys(first, Date.now());
    expect(keys.sealingKeys.map((key) => key.byteLength)).toEqual([32]);
    expect(keys.cookieKeys).toHaveLength(1);
    expect(keys.oauth.map((jwk) => [jwk.alg, jwk.use])).toEqual([["ES256", "sig"]]);
    expect(createPrivateKey({ key: keys.oauth[0] ?? {}, format: "jwk" }).type).toBe("private");
    expect(first.checkpoint?.name).toBe("rolecall.acme.example");
    expect(first.keys.map(({ use }) => use)).toEqual(["federation", "oauth", "cookies", "sealing"]);
    expect(new Set(first.keys.map(({ kid }) => kid)).size).toBe(4);
  });

  test("makes a key for SAML where the broker federates by it, once, and leaves the others as they are", async () => {
    const first = await openKeys(stateDir, ES256);
    const [one, two] = await Promise.all([1, 2].map(() => openKeys(stateDir, { ...ES256, saml: true })));
    expect(one).toEqual(two);
    expect(one?.keys.slice(0, 4)).toEqual(first.keys);
    expect(one?.keys.slice(4).map(({ use }) => use)).toEqual(["saml"]);
    expect(await openKeys(stateDir, { ...ES256, saml: true })).toEqual(one);
    const [key] = (await importKeys(one ?? first, Date.now())).saml;
    const certificate = new X509Certificate(Buffer.from(key?.certificate ?? "", "base64"));
    expect(key?.privateKey && certificate.checkPrivateKey(key.privateKey)).toBe(true);
  });

  test("one process at its very first start makes it as well", async () => {
    const file = await openKeys(stateDir, { ...ES256, saml: true });
    expect(file.keys.map(({ use }) => use)).toEqual(["federation", "oauth", "cookies", "sealing", "saml"]);
  });

  test.each(["ES256", "RS256"] as const)("certifies the %s key that tokens are signed with", async (algorithm) => {
    const file = await openKeys(stateDir, { ...ES256, signingAlgorithm: algorithm });
    const [key] = (await importKeys(file, Date.now())).federation;
    expect(key.algorithm).toBe(algorithm);
    if (key.signs === undefined || !("privateKey" in key.signs)) throw new Error("no private half");
    const certificate = new X509Certificate(Buffer.from(key.certificate, "base64"));
    expect(certificate.checkPrivateKey(key.signs.privateKey)).toBe(true);
    expect(certificate.verify(certificate.publicKey)).toBe(true);
    expect(await calculateJwkThumbprint(await exportJWK(certificate.publicKey))).toBe(key.kid);
    const data = Buffer.from("signed");
    expect(verify("sha256", data, certificate.publicKey, sign("sha256", data, key.signs.privateKey))).toBe(true);
  });

  test("of six processes at once gives all of them one set", async () => {
    const script = `
      const { openKeys } = await import(${JSON.stringify(new URL("../../src/keys/key-file.ts", import.meta.url).href)});
      const keys = await openKeys(${JSON.stringify(stateDir)}, ${JSON.stringify(ES256)});
      console.log(JSON.stringify(keys));`;
    const run = (): Promise<{ stdout: string }> =>
      promisify(execFile)(process.execPath, ["--input-type=module", "-e", script]);
    const answers = await Promise.all(Array.from({ length: 6 }, run));
    expect(new Set(answers.map(({ stdout }) => stdout)).size).toBe(1);
    expect(await readdir(stateDir)).toEqual(["keys.json"]);
  });
});

test("another signing algorithm in the configuration waits for a rotation", async () => {
  const before = await openKeys(stateDir, ES256);
  expect(await openKeys(stateDir, RS256)).toEqual(before);
});

interface Content {
  keys: Record<string, unknown>[];
  checkpoint: Record<string, unknown>;
}

/** The key of that use. */
function keyOf({ keys }: Content, use: string): Record<string, unknown> {
  return keys.find((key) => key["use"] === use) ?? {};
}

describe("a file that can't be trusted is refused, kept as it is, and not quoted", () => {
  const otherKey = generateKeyPairSync("ec", { namedCurve: "P-256" }).privateKey;
  const otherPem = otherKey.export({ type: "pkcs8", format: "pem" });
  /** Changes the content, or returns what is written in its place. */
  const rows: [string, string, (content: Content) => unknown][] = [
    ["not JSON", "is not JSON", () => "{"],
    ["empty", "is not JSON", () => ""],
    ["a list", "is not an object", () => "[]"],
    ["a field too many", "is not an object", (content) => void Object.assign(content, { extra: 1 })],
    ["no federation key", "federation", (content) => void content.keys.shift()],
    ["no key that may seal", "sealing", (content) => void (keyOf(content, "sealing")["revokedAt"] = AGO)],
    [
      "an active key without its half",
      "private half",
      (content) => void Reflect.deleteProperty(keyOf(content, "federation"), "privateKey"),
    ],
    ["a short sealing key", "keys.3.secret", (content) => void (keyOf(content, "sealing")["secret"] = "c2hvcnQ")],
    [
      "a key without its secret",
      "secret",
      (content) => void Reflect.deleteProperty(keyOf(content, "cookies"), "secret"),
    ],
    ["a use that there is not", "keys.0", (content) => void (keyOf(content, "federation")["use"] = "saml")],
    ["one key twice", "one kid twice", (content) => void content.keys.push(keyOf(content, "federation"))],
    ["another private key", "another key", (content) => void (keyOf(content, "federation")["privateKey"] = otherPem)],
    ["a broken private key", "is none", (content) => void (keyOf(content, "federation")["privateKey"] = "PEM")],
    ["another kid", "thumbprint", (content) => void (keyOf(content, "federation")["kid"] = "other-kid")],
    ["another algorithm", "fit", (content) => void (keyOf(content, "federation")["algorithm"] = "RS256")],
    ["a certificate that is none", "is none", (content) => void (keyOf(content, "federation")["certificate"] = "AAAA")],
    ["a KMS alias", "keys.0.kms", (content) => void (keyOf(content, "federation")["kms"] = "alias/rolecall")],
    [
      "a time that is none",
      "keys.0.activeFrom",
      (content) => void (keyOf(content, "federation")["activeFrom"] = "now"),
    ],
    ["a broken OAuth key", "is none", (content) => void (keyOf(content, "oauth")["privateKey"] = "PEM")],
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
    const pem = small.export({ type: "pkcs8", format: "pem" }).toString();
    Object.assign(keyOf(content, "oauth"), { algorithm: "RS256", privateKey: pem });
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
  expect(await openKeys(elsewhere, ES256)).toEqual(first);
});
