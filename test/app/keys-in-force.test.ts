import { beforeEach, expect, test } from "vitest";
import { withNext } from "../../src/keys/key-changes.ts";
import { newFederationKey, newKeyFile } from "../../src/keys/new-keys.ts";
import type { KeyFile } from "../../src/keys/stored-keys.ts";
import { KeysInForce } from "../../src/keys-in-force.ts";
import { ledgerDown, memoryLedger, type MemoryLedger } from "../support/issue-ports.ts";
import { recordingLog } from "../support/log.ts";

const START = Date.parse("2026-11-01T00:00:00Z");
const HOUR = 60 * 60 * 1000;

let time: number;
let file: KeyFile;
let ledger: MemoryLedger;
let log: ReturnType<typeof recordingLog>;
let first: string;

beforeEach(async () => {
  time = START;
  file = await newKeyFile("ES256", "rolecall.acme.example/ledger", new Date(START));
  first = file.keys[0]?.kid ?? "";
  ledger = memoryLedger({});
  log = recordingLog();
});

function start(): Promise<KeysInForce> {
  const load = (): Promise<KeyFile> => Promise.resolve(file);
  return KeysInForce.start({ file, load, ledger, log, now: () => time });
}

/** Another key from an hour after now on. */
async function prepare(): Promise<string> {
  const next = await newFederationKey("ES256", { createdAt: new Date(time), activeFrom: new Date(time + HOUR) });
  file = withNext(file, next, time);
  return next.kid;
}

const active = (keys: KeysInForce): string => keys.keys.federation[0].kid;

test("a broker whose keys can't be recorded does not start", async () => {
  ledger.beforeAppend = () => Promise.reject(ledgerDown());
  await expect(start()).rejects.toMatchObject({ code: "ledger_unavailable" });
});

test("a key is not active before that is on record, and the former one signs until then", async () => {
  const next = await prepare();
  const keys = await start();
  time += HOUR;
  ledger.beforeAppend = () => Promise.reject(ledgerDown());
  expect(active(keys)).toBe(first);
  await expect.poll(() => keys.upToDate).toBe(false);
  expect(active(keys)).toBe(first);
  expect(log.lines.filter(({ level }) => level === "error")).toHaveLength(1);

  ledger.beforeAppend = () => undefined;
  await keys.reload();
  expect([active(keys), keys.upToDate]).toEqual([next, true]);
  expect(ledger.rows.slice(-2).map(({ keyId, keyTo }) => [keyId, keyTo])).toEqual([
    [first, "retired"],
    [next, "active"],
  ]);
  await keys.close();
});

test("a new key is not published before that is on record", async () => {
  const keys = await start();
  const next = await prepare();
  ledger.beforeAppend = () => Promise.reject(ledgerDown());
  await keys.reload();
  expect(keys.keys.federation.map(({ kid }) => kid)).toEqual([first]);
  ledger.beforeAppend = () => undefined;
  await keys.reload();
  expect(keys.keys.federation.map(({ kid }) => kid)).toEqual([first, next]);
  await keys.close();
});

test("the same keys are the same object, and a reload of the same file records nothing", async () => {
  const keys = await start();
  const before = keys.keys;
  const rows = ledger.rows.length;
  await keys.reload();
  expect(keys.keys).toBe(before);
  expect(ledger.rows).toHaveLength(rows);
  await keys.close();
});

test("keys that nobody may use leave the last good ones", async () => {
  const keys = await start();
  file = { ...file, keys: file.keys.slice(1) };
  await keys.reload();
  expect([active(keys), keys.upToDate]).toEqual([first, false]);
  expect(log.lines.at(-1)?.fields["reason"]).toMatch(/no key that may be used for federation/);
  await keys.close();
});
