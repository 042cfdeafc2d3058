import { createHash } from "node:crypto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PERSONAL_KEYS, type AuditEvent } from "../../src/flow/audit-event.ts";
import { canonicalJson, composeRow, personalDigest, readEntry } from "../../src/ledger/row.ts";

const TIME = "2026-11-22T21:00:00.000Z";

describe("canonical JSON (RFC 8785)", () => {
  it.each<[string, unknown, string]>([
    [
      "keys by UTF-16 code unit",
      { "\u20ac": 1, "\r": 2, "\ufb33": 3, "1": 4, "\u{1f600}": 5, "\u0080": 6, "\u00f6": 7 },
      '{"\\r":2,"1":4,"\u0080":6,"\u00f6":7,"\u20ac":1,"\u{1f600}":5,"\ufb33":3}',
    ],
    [
      "numbers as ECMAScript writes them",
      [333333333.3333333, 1e30, 4.5, 2e-3, 1e-27, -0],
      "[333333333.3333333,1e+30,4.5,0.002,1e-27,0]",
    ],
    ["shortest escapes", '\u20ac$\u000f\nA\'B"\\\\"/', '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"'],
    ["NUL, DEL and line separators", "\0\x7f\u2028", '"\\u0000\x7f\u2028"'],
    ["a lone surrogate as U+FFFD, in a key too", { "a\ud800": "\udc00b" }, '{"a\ufffd":"\ufffdb"}'],
    ["no undefined", { a: undefined, b: [undefined] }, '{"b":[null]}'],
    ["a claim named __proto__", JSON.parse('{"__proto__":{"a":1}}'), '{"__proto__":{"a":1}}'],
    ["composed and decomposed letters as they are", ["\u00e9", "e\u0301"], '["\u00e9","e\u0301"]'],
  ])("writes %s", (_, value, text) => {
    expect(canonicalJson(value)).toBe(text);
  });

  it.each([
    ["NaN", Number.NaN],
    ["Infinity", Infinity],
  ])("refuses %s", (_, value) => {
    expect(() => canonicalJson({ value })).toThrow();
  });

  it("is its own canonical form once read", () => {
    fc.assert(
      fc.property(fc.jsonValue(), (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
    );
  });
});

describe("a row", () => {
  const event: AuditEvent = {
    type: "credentials.issued",
    requestId: "r1",
    directory: "okta",
    subject: "00u1",
    email: "jane@acme.example",
    sessionName: "jane@acme.example",
    sessionArn: "arn:aws:sts::111122223333:assumed-role/BedrockShared/jane@acme.example",
    claims: { groups: ["bedrock-search"] },
    address: "192.0.2.1",
    userAgent: "curl",
    actor: "root@acme.example",
    note: "laptop stolen",
    former: { directory: "okta", subject: "00u0" },
    tags: { team: "search" },
  };

  it("holds no personal key, only the salted digest of all of them", () => {
    const row = composeRow(event, 7, TIME);
    const chained = JSON.parse(row.text) as Record<string, unknown>;
    expect(Object.keys(chained)).toEqual(["directory", "personal", "requestId", "seq", "tags", "time", "type"]);
    for (const value of ["jane", "00u1", "192.0.2.1", "bedrock-search", "root@", "stolen", "00u0"])
      expect(row.text).not.toContain(value);
    expect(Object.keys(JSON.parse(row.personal?.text ?? "{}") as object).toSorted()).toEqual(
      [...PERSONAL_KEYS].toSorted(),
    );
    const { salt = "", text = "" } = row.personal ?? {};
    expect(chained["personal"]).toBe(createHash("sha256").update(Buffer.from(salt, "hex")).update(text).digest("hex"));
  });

  it("has another digest each time, so that equal people can't be told", () => {
    const digests = [1, 2].map(() => {
      const { personal } = composeRow(event, 7, TIME);
      return personalDigest(personal?.salt ?? "", personal?.text ?? "");
    });
    expect(new Set(digests).size).toBe(2);
  });

  it("reads as the event again, and without personal keys once they are erased", () => {
    const row = composeRow(event, 7, TIME);
    expect(readEntry(row.text, row.personal?.text ?? null)).toMatchObject({ ...event, seq: 7, time: TIME });
    const erased = readEntry(row.text, null);
    expect(erased).toMatchObject({ seq: 7, tags: { team: "search" } });
    for (const key of PERSONAL_KEYS) expect(erased).not.toHaveProperty(key);
  });

  it("needs no personal record where nothing is personal", () => {
    const row = composeRow({ type: "config.changed", configSha256: "ab" }, 1, TIME);
    expect(row.personal).toBeUndefined();
    expect(row.text).toBe(`{"configSha256":"ab","seq":1,"time":"${TIME}","type":"config.changed"}`);
  });

  it("is not overruled by its event or its personal record", () => {
    const forged = { type: "checkpoint", seq: 99, time: "never", personal: "none" } as AuditEvent;
    expect(JSON.parse(composeRow(forged, 1, TIME).text)).toMatchObject({ seq: 1, time: TIME });
    expect(readEntry('{"seq":1,"type":"login.denied"}', '{"seq":2,"type":"x"}')).toEqual({
      seq: 1,
      type: "login.denied",
    });
  });
});
