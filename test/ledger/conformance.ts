import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { AuditEvent } from "../../src/flow/audit-event.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import type { LedgerPlace } from "../../src/ledger/place.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { boundEvent, issued, requested } from "../support/ledger.ts";

/** One database to try a ledger on; what a second ledger over it does counts as another process. */
export interface Bench {
  /** What other processes open. */
  readonly place: LedgerPlace;
  open(options?: { now?: () => number; deadlineMs?: number }): Promise<Ledger>;
  entries(): Promise<LedgerEntry[]>;
  remove(): Promise<void> | void;
}

const JANE = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
const JOHN = { directory: "okta", subject: "00u2", email: "john@acme.example" };
const REFUSED = { name: "Refusal", code: "ledger_unavailable" };

/** What every database behind the ledger must do. */
export function ledgerConformance(name: string, makeBench: () => Bench | Promise<Bench>): void {
  describe(`a ledger on ${name}`, () => {
    let bench: Bench;
    let ledger: Ledger;
    const opened: Ledger[] = [];
    const open: Bench["open"] = async (options) => {
      const another = await bench.open(options);
      opened.push(another);
      return another;
    };

    beforeEach(async () => {
      bench = await makeBench();
      ledger = await open();
    });

    afterEach(async () => {
      await Promise.all(opened.splice(0).map((each) => each.close()));
      await bench.remove();
    });

    const entries = async (): Promise<LedgerEntry[]> =>
      (await bench.entries()).filter(({ type }) => type !== "checkpoint");

    it("gives each row the next place, and keeps what it was given", async () => {
      const event: AuditEvent = {
        ...requested("r1"),
        directory: "okta",
        subject: "00u1",
        claims: { groups: ["a", "b"], "/a/b": null },
        tags: { team: "search" },
        trace: [{ tag: "team", rule: "from[0]", claim: "groups", value: "search", outcome: "spoke" }],
        durationSeconds: 3600,
        address: "192.0.2.1",
      };
      expect(await ledger.append(event)).toEqual({ seq: 1 });
      expect(await ledger.append(issued("r1"))).toEqual({ seq: 2 });
      const [first, second] = await entries();
      expect(first).toMatchObject({ ...event, seq: 1 });
      expect(first?.time).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      expect(second).toMatchObject({ ...issued("r1"), seq: 2 });
    });

    it("keeps the order of 200 appends at once, in few transactions", async () => {
      const seqs = await Promise.all(
        Array.from({ length: 200 }, async (_, i) => (await ledger.append(requested(`r${i}`))).seq),
      );
      expect(seqs).toEqual(Array.from({ length: 200 }, (_, i) => i + 1));
      expect((await entries()).map(({ requestId }) => requestId)).toEqual(seqs.map((seq) => `r${seq - 1}`));
    });

    it("writes each event once when two ledgers append at once", async () => {
      const other = await open();
      const ids = Array.from({ length: 100 }, (_, i) => i);
      const seqs = await Promise.all(
        ids.flatMap((i) => [ledger.append(requested(`a${i}`)), other.append(requested(`b${i}`))]),
      );
      expect(seqs.map(({ seq }) => seq).toSorted((a, b) => a - b)).toEqual(
        Array.from({ length: 200 }, (_, i) => i + 1),
      );
      expect(new Set((await entries()).map(({ requestId }) => requestId)).size).toBe(200);
    });

    describe("a request has one beginning and one end", () => {
      const cases: [string, AuditEvent[], AuditEvent][] = [
        ["a second outcome", [requested("r"), issued("r")], { type: "credentials.failed", requestId: "r" }],
        ["the same outcome again", [requested("r"), issued("r")], issued("r")],
        ["a request ID used again", [requested("r")], requested("r")],
        ["a request ID used again after its outcome", [requested("r"), issued("r")], requested("r")],
        ["an outcome without a request", [], issued("r")],
        ["a request without an ID", [], { type: "credentials.requested" }],
        ["an outcome without an ID", [], { type: "credentials.failed" }],
      ];
      it.each(cases)("refuses %s", async (_, before, refused) => {
        for (const event of before) await ledger.append(event);
        await expect(ledger.append(refused)).rejects.toMatchObject(REFUSED);
        expect(await entries()).toHaveLength(before.length);
      });

      it.each(cases)("refuses %s in the same batch, and writes the rest of it", async (_, before, refused) => {
        const results = await Promise.allSettled(
          [...before, refused, requested("bystander")].map((event) => ledger.append(event)),
        );
        const statuses = [...before.map(() => "fulfilled"), "rejected", "fulfilled"];
        expect(results.map(({ status }) => status)).toEqual(statuses);
        expect((await entries()).at(-1)).toMatchObject({ requestId: "bystander", seq: before.length + 1 });
      });

      it("lets exactly one of many racing outcomes through, whichever ledger writes it", async () => {
        const other = await open();
        await ledger.append(requested("r"));
        const racing = Array.from({ length: 20 }, (_, i) => (i % 2 ? ledger : other).append(issued("r")));
        const results = await Promise.allSettled(racing);
        expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
        expect(await entries()).toHaveLength(2);
      });

      it("takes other events of one request as often as they come", async () => {
        await ledger.append({ type: "login.denied", requestId: "r", reason: "idp_denied" });
        await ledger.append({ type: "login.denied", requestId: "r", reason: "idp_denied" });
        await ledger.append({ type: "credentials.denied", requestId: "r", reason: "tag_missing" });
        expect(await entries()).toHaveLength(3);
      });
    });

    it("fails only the caller whose event can't be written", async () => {
      const bad = { ...requested("bad"), durationSeconds: Number.NaN };
      const results = await Promise.allSettled([
        ledger.append(requested("a")),
        ledger.append(bad),
        ledger.append(requested("b")),
      ]);
      expect(results.map(({ status }) => status)).toEqual(["fulfilled", "rejected", "fulfilled"]);
      expect((await entries()).map(({ requestId, seq }) => [requestId, seq])).toEqual([
        ["a", 1],
        ["b", 2],
      ]);
    });

    describe("people", () => {
      it("knows nobody at first", async () => {
        expect(await ledger.sessionNameOf(JANE)).toBeUndefined();
      });

      it("gives a name once, with one event, and for ever", async () => {
        expect(await ledger.bind(JANE, "jane@acme.example", boundEvent(JANE, "jane@acme.example"))).toBe(
          "jane@acme.example",
        );
        expect(await ledger.bind(JANE, "other@acme.example", boundEvent(JANE, "other@acme.example"))).toBe(
          "jane@acme.example",
        );
        expect(await ledger.sessionNameOf(JANE)).toBe("jane@acme.example");
        expect((await entries()).map(({ type }) => type)).toEqual(["identity.bound"]);
      });

      it("tells the names of 500 people who ask at one moment apart, also where two directories have one subject", async () => {
        const people = Array.from({ length: 500 }, (_, i) => {
          const person = { directory: i % 2 ? "okta" : "entra", subject: `00u${i >> 1}`, email: `${i}@acme.example` };
          return { person, name: `person.${i}@acme.example` };
        });
        await Promise.all(people.map(({ person, name }) => ledger.bind(person, name, boundEvent(person, name))));
        const found = await Promise.all(people.map(({ person }) => ledger.sessionNameOf(person)));
        expect(found).toEqual(people.map(({ name }) => name));
      });

      it("refuses another person's name, and records nothing for it", async () => {
        await ledger.bind(JANE, "jane@acme.example", boundEvent(JANE, "jane@acme.example"));
        await expect(
          ledger.bind(JOHN, "jane@acme.example", boundEvent(JOHN, "jane@acme.example")),
        ).rejects.toMatchObject({
          code: "email_taken",
        });
        expect(await ledger.sessionNameOf(JOHN)).toBeUndefined();
        expect(await entries()).toHaveLength(1);
      });

      it("tells people apart by directory as well as subject", async () => {
        await ledger.bind(JANE, "a@acme.example", boundEvent(JANE, "a@acme.example"));
        const twin = { ...JANE, directory: "entra" };
        expect(await ledger.bind(twin, "b@acme.example", boundEvent(twin, "b@acme.example"))).toBe("b@acme.example");
      });

      it("gives a name to one of many racing people, and one name to a person who races himself", async () => {
        const other = await open();
        const people = Array.from({ length: 20 }, (_, i) => ({ directory: "okta", subject: `s${i % 10}`, email: "e" }));
        const results = await Promise.allSettled(
          people.map((person, i) =>
            (i % 2 ? ledger : other).bind(
              person,
              `name${Number(person.subject.slice(1)) % 5}`,
              boundEvent(person, "?"),
            ),
          ),
        );
        const names = new Map<string, Set<string>>();
        results.forEach((result, i) => {
          if (result.status !== "fulfilled") return;
          const owners = names.get(result.value) ?? new Set();
          names.set(result.value, owners.add((people[i] as { subject: string }).subject));
        });
        expect([...names.values()].map((owners) => owners.size)).toEqual([1, 1, 1, 1, 1]);
        expect(await entries()).toHaveLength(5);
      });

      it.each([
        ["empty", ""],
        ["a lone surrogate", "a\ud800"],
        ["NUL", "a\0b"],
      ])("refuses a subject with %s, which could be taken for another", async (_, subject) => {
        const person = { directory: "okta", subject, email: "e" };
        await expect(ledger.bind(person, "n", boundEvent(person, "n"))).rejects.toMatchObject({
          code: "subject_missing",
        });
        await expect(ledger.sessionNameOf(person)).rejects.toMatchObject({ code: "subject_missing" });
      });
    });

    describe("the sweep", () => {
      it("closes requests older than a minute, with all that they said, and leaves the others", async () => {
        let now = Date.parse("2026-11-22T12:00:00Z");
        const clocked = await open({ now: () => now });
        await clocked.append(requested("lost", { tags: { team: "search" } }));
        await clocked.append(requested("closed"));
        await clocked.append(issued("closed"));
        now += 30_000;
        await clocked.append(requested("young"));
        now += 30_001;
        expect(await clocked.sweep()).toBe(1);
        expect((await entries()).at(-1)).toMatchObject({
          type: "credentials.failed",
          requestId: "lost",
          email: "jane@acme.example",
          tags: { team: "search" },
          outcome: "failed",
          reason: "outcome_unknown",
        });
        expect(await clocked.sweep()).toBe(0);
        now += 30_000;
        expect(await clocked.sweep()).toBe(1);
        expect((await entries()).at(-1)).toMatchObject({ requestId: "young", reason: "outcome_unknown" });
      });

      it("refuses the outcome that comes after it", async () => {
        const late = await open({ now: () => Date.now() + 3_600_000 });
        await ledger.append(requested("r"));
        expect(await late.sweep()).toBe(1);
        await expect(ledger.append(issued("r"))).rejects.toMatchObject(REFUSED);
      });

      it("runs at start", async () => {
        await ledger.append(requested("r"));
        await ledger.close();
        await open({ now: () => Date.now() + 3_600_000 });
        expect((await entries()).at(-1)).toMatchObject({ requestId: "r", reason: "outcome_unknown" });
      });

      it("writes one outcome when two ledgers sweep at once", async () => {
        const now = (): number => Date.now() + 3_600_000;
        const [a, b] = [await open({ now }), await open({ now })];
        await ledger.append(requested("r"));
        const closed = await Promise.all([a.sweep(), b.sweep()]);
        expect(closed.toSorted()).toEqual([0, 1]);
      });
    });

    it("goes on where it ended when it is opened again", async () => {
      await ledger.append(requested("a"));
      await ledger.bind(JANE, "jane@acme.example", boundEvent(JANE, "jane@acme.example"));
      await ledger.close();
      const again = await open();
      expect(await again.sessionNameOf(JANE)).toBe("jane@acme.example");
      expect((await again.append(issued("a"))).seq).toBe((await bench.entries()).length);
    });

    it("is writable, and refuses everything once it is closed", async () => {
      expect(await ledger.state()).toEqual({ writable: true });
      // Nothing stays of the look, however often it is taken.
      expect(await Promise.all([ledger.state(), ledger.state()])).toEqual([{ writable: true }, { writable: true }]);
      expect(await ledger.state()).toEqual({ writable: true });
      const last = ledger.append(requested("last"));
      await ledger.close();
      expect(await last).toEqual({ seq: 1 });
      expect(await ledger.state()).toMatchObject({ writable: false });
      await expect(ledger.append(requested("r"))).rejects.toMatchObject(REFUSED);
    });

    it("makes a checkpoint only when something else was written since the last", async () => {
      expect(await ledger.checkpoint()).toBeUndefined();
      await ledger.append(requested("r"));
      const note = await ledger.checkpoint();
      expect(note?.split("\n").slice(0, 2)).toEqual(["rolecall.acme.example/ledger", "1"]);
      expect(await ledger.checkpoint()).toBeUndefined();
      expect((await bench.entries()).at(-1)).toMatchObject({ type: "checkpoint", checkpoint: note, seq: 2 });
    });

    it("makes a checkpoint by itself after 1,000 rows", async () => {
      const login: AuditEvent = { type: "login.succeeded" };
      await Promise.all(Array.from({ length: 1000 }, () => ledger.append(login)));
      await ledger.append(login);
      const notes = (await bench.entries()).filter(({ type }) => type === "checkpoint");
      expect(notes).toHaveLength(1);
    });
  });
}
