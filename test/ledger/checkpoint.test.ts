import { createPrivateKey, createPublicKey, generateKeyPairSync } from "node:crypto";
import { describe, expect, it } from "vitest";
import { openCheckpoint, parseVerifierKey, signCheckpoint, verifierKey } from "../../src/ledger/checkpoint.ts";
import { CHECKPOINT_KEY, VERIFIER } from "../support/ledger.ts";

const HEAD = { size: 42, root: Buffer.alloc(32, 7), time: "2026-11-22T21:00:00.000Z" };

describe("a checkpoint", () => {
  const note = signCheckpoint(CHECKPOINT_KEY, HEAD);

  it("is a signed note: origin, size, root, time, signature", () => {
    const id = verifierKey(VERIFIER).split("+")[1] as string;
    const lines = note.split("\n");
    expect(lines.slice(0, 5)).toEqual([
      "rolecall.acme.example/ledger",
      "42",
      "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc=",
      "time 2026-11-22T21:00:00.000Z",
      "",
    ]);
    expect(lines[5]).toMatch(/^\u2014 rolecall\.acme\.example\/ledger [A-Za-z0-9+/=]+$/);
    const signature = Buffer.from(lines[5]?.split(" ")[2] ?? "", "base64");
    expect([signature.length, signature.subarray(0, 4).toString("hex")]).toEqual([68, id]);
    expect(lines.slice(6)).toEqual([""]);
  });

  it("opens with its key, also beside other signatures and from the key's text", () => {
    const expected = { origin: CHECKPOINT_KEY.name, ...HEAD };
    expect(openCheckpoint(note, VERIFIER)).toEqual(expected);
    expect(openCheckpoint(`${note}\u2014 witness.example AAAAAGZvcmdlZA==\n`, VERIFIER)).toEqual(expected);
    expect(openCheckpoint(note, parseVerifierKey(verifierKey(VERIFIER)))).toEqual(expected);
  });

  const other = generateKeyPairSync("ed25519");
  it.each([
    ["another size", note.replace("\n42\n", "\n43\n"), /signature does not hold/],
    ["another time", note.replace("21:00", "22:00"), /signature does not hold/],
    ["another origin", note.replace(/^rolecall/, "rolemock"), /signature does not hold/],
    [
      "another key of the same name",
      signCheckpoint({ ...CHECKPOINT_KEY, privateKey: other.privateKey }, HEAD),
      /not signed by the key/,
    ],
    ["another log", signCheckpoint({ ...CHECKPOINT_KEY, name: "other" }, HEAD), /not signed by the key/],
    ["no signature", note.slice(0, note.indexOf("\u2014")), /not signed by the key/],
    ["no note", "hello", /not a signed note/],
    [
      "a second, false signature of ours",
      note + note.slice(note.indexOf("\u2014")).replace(/.{8}\n$/, "AAAAAAA=\n"),
      /does not hold/,
    ],
  ])("is refused with %s", (_, forged, message) => {
    expect(() => openCheckpoint(forged, VERIFIER)).toThrow(message);
  });

  it("has the verifier key of the format's own example", () => {
    // golang.org/x/mod/sumdb/note, package documentation.
    const key = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW";
    expect(verifierKey(parseVerifierKey(key))).toBe(key);
  });

  it.each([
    ["text", "hello"],
    ["a false ID", "PeterNeumann+c74f20a4+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"],
    ["another kind of key", `x+00000000+${Buffer.alloc(33, 2).toString("base64")}`],
  ])("takes no verifier key that is %s", (_, key) => {
    expect(() => parseVerifierKey(key)).toThrow(/verifier key/);
  });

  it("takes only Ed25519 keys and names that fit a note", () => {
    const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
    expect(() => signCheckpoint({ name: "x", privateKey }, HEAD)).toThrow(/Ed25519/);
    for (const name of ["a b", "a+b", "a\nb", ""]) {
      expect(() => signCheckpoint({ ...CHECKPOINT_KEY, name }, HEAD)).toThrow(/no space and no plus/);
    }
  });

  it("is signed deterministically with RFC 8032's first test key", () => {
    const seed = Buffer.from("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60", "hex");
    const der = Buffer.concat([Buffer.from("302e020100300506032b657004220420", "hex"), seed]);
    const privateKey = createPrivateKey({ key: der, format: "der", type: "pkcs8" });
    const verifier = { name: "x", publicKey: createPublicKey(privateKey) };
    expect(verifierKey(verifier)).toContain("AddamAGCsQq31Uv+08lkBzoO4XLz2qYjJa8CGmj3B1Ea");
    expect(signCheckpoint({ name: "x", privateKey }, HEAD)).toBe(signCheckpoint({ name: "x", privateKey }, HEAD));
  });
});
