/**
 * Another process with the same ledger, as the tests start it: `node child.ts PLACE KEY JOB …`. PLACE is a file or a PostgreSQL URL, KEY the checkpoint
 * key, a PKCS #8 PEM. Talks in JSON, one line at a time.
 */
import { createPrivateKey } from "node:crypto";
import { rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { setTimeout as delay } from "node:timers/promises";
import { Refusal } from "../../src/flow/errors.ts";
import { openLedger, type Ledger } from "../../src/ledger/ledger.ts";

const [where = "", key = "", job = "", ...args] = process.argv.slice(2);
const say = (value: unknown): void => void process.stdout.write(`${JSON.stringify(value)}\n`);
const silent = { info: () => undefined, warn: () => undefined, error: () => undefined };

async function open(): Promise<Ledger> {
  const checkpointKey = { name: "rolecall.acme.example/ledger", privateKey: createPrivateKey(key) };
  const place = URL.canParse(where) ? { url: where } : { file: where };
  return await openLedger({ ...place, checkpointKey, log: silent, deadlineMs: 10_000 });
}

/** Waits for the starting shot, so that processes race. */
async function starter(): Promise<void> {
  say("ready");
  for await (const _ of process.stdin) return;
}

const jobs: Record<string, () => Promise<void>> = {
  /** Holds the file's lock until it is killed. */
  async hold() {
    const db = new DatabaseSync(where);
    db.exec("begin exclusive");
    await starter();
  },

  /** Says each row that is durable, without end: to be killed. */
  async append() {
    const ledger = await open();
    say("ready");
    for (let i = 0; ; i += 1) {
      const requestId = `${String(args[0])}-${i}`;
      const appends = [ledger.append({ type: "login.succeeded", requestId, email: "jane@acme.example" })];
      appends.push(ledger.append({ type: "credentials.requested", requestId, email: "jane@acme.example" }));
      for (const { seq } of await Promise.all(appends)) say(seq);
    }
  },

  /** Binds the same names as everybody who runs this, for people of its own. */
  async bind() {
    const ledger = await open();
    await starter();
    const names = Array.from({ length: Number(args[1]) }, (_, i) => `person${i}@acme.example`);
    const results = await Promise.all(
      names.map(async (name, i) => {
        const person = { directory: "okta", subject: `${String(args[0])}-${i}`, email: name };
        try {
          return await ledger.bind(person, name, { type: "identity.bound", ...person, sessionName: name });
        } catch (error) {
          return error instanceof Refusal ? error.code : String(error);
        }
      }),
    );
    await ledger.close();
    say(results);
  },

  /** Fills the file system that the ledger lies on, and empties it again. */
  async full() {
    const ledger = await open();
    const attempt = async (requestId: string): Promise<string> => {
      try {
        await ledger.append({ type: "credentials.requested", requestId, userAgent: "x".repeat(5000) });
        return "written";
      } catch (error) {
        return error instanceof Refusal ? `${error.code}: ${error.message}` : String(error);
      }
    };
    const before = await attempt("before");
    const ballast = join(dirname(where), "ballast");
    for (let size = 4096 * 1024; size >= 512; size /= 2) {
      try {
        writeFileSync(ballast, Buffer.alloc(size), { flag: "a" });
        size *= 2;
      } catch {
        // No room for so much: half of it.
      }
    }
    const full = [await attempt("full-1"), await attempt("full-2"), (await ledger.state()).writable];
    rmSync(ballast);
    const after = [await attempt("after"), (await ledger.state()).writable];
    await ledger.close();
    say({ before, full, after });
    await delay(0);
  },
};

await jobs[job]?.();
process.exit();
