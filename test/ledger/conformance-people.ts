import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Holder, Revocable } from "../../src/flow/holder.ts";
import { peopleLike, rebindNewcomer, type KnownPerson } from "../../src/flow/people.ts";
import { lift, revoke } from "../../src/flow/revocation.ts";
import { hashedSessionName } from "../../src/flow/session-name.ts";
import type { Ledger } from "../../src/ledger/ledger.ts";
import { boundEvent, issued, requested, verifyAt } from "../support/ledger.ts";
import type { Bench } from "./conformance.ts";

const JANE = { directory: "okta", subject: "00u1", email: "jane@acme.example" };
const JOHN = { directory: "okta", subject: "00u2", email: "john@acme.example" };
/** Jane's account in another directory, or somebody else who brings her email. */
const NEW_JANE = { directory: "entra", subject: "tid/oid-1", email: "Jane@acme.example" };
const ORDER = { actor: "operator root", note: "HR-77" };
const NAME = "jane@acme.example";

/** What every database behind the ledger must do about names that move, and about revocations. */
export function peopleConformance(name: string, makeBench: () => Bench | Promise<Bench>): void {
  describe(`people and revocations in a ledger on ${name}`, () => {
    let bench: Bench;
    let ledger: Ledger;
    let other: Ledger;

    beforeEach(async () => {
      bench = await makeBench();
      ledger = await bench.open();
      other = await bench.open();
      await ledger.bind(JANE, NAME, boundEvent(JANE, NAME));
      await ledger.bind(JOHN, JOHN.email, boundEvent(JOHN, JOHN.email));
    });

    afterEach(async () => {
      await verifyAt(bench.place);
      await Promise.all([ledger.close(), other.close()]);
      await bench.remove();
    });

    /** A sign-in that is on record, and may ask for credentials by a grant. */
    async function signIn(person: KnownPerson, id: string, grantId = "a".repeat(32)): Promise<Required<Holder>> {
      const { seq } = await ledger.append({ type: "login.succeeded", requestId: id, ...person });
      return { ...person, signedInAt: Date.now() + 60_000, signIn: { id, seq }, grantId };
    }

    let requests = 0;
    const request = (by: Ledger, holder: Holder, sessionName?: string): Promise<{ seq: number }> =>
      by.append(requested(`r${(requests += 1)}`, sessionName === undefined ? {} : { sessionName }), holder);

    const denied = (person: KnownPerson, requestId: string): Promise<unknown> =>
      ledger.append({ type: "login.denied", requestId, provider: "p", ...person, reason: "email_taken" });

    it("moves a name to the same human's new account, and closes the old one", async () => {
      await denied(NEW_JANE, "refused-1");
      const before = await signIn(JANE, "s1");
      expect(await rebindNewcomer(ledger, NEW_JANE, "same-person", ORDER)).toMatchObject({ sessionName: NAME });
      for (const each of [ledger, other]) {
        expect(await each.sessionNameOf(NEW_JANE)).toBe(NAME);
        expect(await each.bind(NEW_JANE, NAME, boundEvent(NEW_JANE, NAME))).toBe(NAME);
        const refusals = [each.sessionNameOf(JANE), each.bind(JANE, NAME, boundEvent(JANE, NAME))];
        await Promise.all(
          [...refusals, request(each, before, NAME)].map((refusal) =>
            expect(refusal).rejects.toMatchObject({ code: "name_moved" }),
          ),
        );
      }
      expect((await bench.entries()).findLast(({ type }) => type === "identity.rebound")).toMatchObject({
        ...NEW_JANE,
        sessionName: NAME,
        former: { directory: "okta", subject: "00u1" },
        ...ORDER,
      });
      expect(await ledger.newcomers()).toEqual([]);
      expect(peopleLike(await ledger.people(), NAME)).toMatchObject([{ directory: "entra", generation: 2 }]);
      // And back, where it was a mistake.
      await rebindNewcomer(other, JANE, "same-person", ORDER);
      expect(await ledger.sessionNameOf(JANE)).toBe(NAME);
      await expect(ledger.sessionNameOf(NEW_JANE)).rejects.toMatchObject({ code: "name_moved" });
    });

    it("gives another human a name of their own, and nobody loses theirs", async () => {
      await denied(NEW_JANE, "refused-1");
      await denied(NEW_JANE, "refused-2");
      expect(await ledger.newcomers()).toMatchObject([{ ...NEW_JANE, requestId: "refused-2" }]);
      await rebindNewcomer(ledger, NEW_JANE, "another-person", ORDER);
      expect(await other.sessionNameOf(NEW_JANE)).toBe(hashedSessionName(NEW_JANE));
      expect(await other.bind(NEW_JANE, NAME, boundEvent(NEW_JANE, NAME))).toBe(hashedSessionName(NEW_JANE));
      expect(await other.sessionNameOf(JANE)).toBe(NAME);
      expect(await ledger.newcomers()).toEqual([]);
      await expect(rebindNewcomer(ledger, NEW_JANE, "another-person", ORDER)).rejects.toThrow(/another account/);
    });

    it("frees no name: what moved away, and what its account left behind, stay taken", async () => {
      await rebindNewcomer(ledger, NEW_JANE, "another-person", ORDER);
      const former = hashedSessionName(NEW_JANE);
      const holder = await signIn(NEW_JANE, "s1");
      await request(other, holder, former);
      await rebindNewcomer(ledger, NEW_JANE, "same-person", ORDER);
      await expect(request(other, holder, former)).rejects.toMatchObject({ code: "name_moved" });
      await request(other, holder, NAME);
      const stranger = { directory: "okta", subject: "00u9", email: "x@acme.example" };
      for (const taken of [NAME, former]) {
        await expect(ledger.bind(stranger, taken, boundEvent(stranger, taken))).rejects.toMatchObject({
          code: "email_taken",
        });
      }
    });

    it("writes nothing where the record says otherwise", async () => {
      const event = { type: "identity.rebound", ...NEW_JANE } as const;
      const before = (await bench.entries()).length;
      const change = { to: NEW_JANE, sessionName: NAME };
      await expect(ledger.rebind({ ...change, from: JOHN }, event)).rejects.toThrow(/not okta\/00u2's any more/);
      await expect(ledger.rebind({ ...change, from: undefined }, event)).rejects.toThrow(/another account's/);
      await expect(ledger.rebind({ to: JOHN, sessionName: "new", from: undefined }, event)).rejects.toThrow(/already/);
      const nobody = { ...NEW_JANE, email: "nobody@acme.example" };
      await expect(rebindNewcomer(ledger, nobody, "same-person", ORDER)).rejects.toThrow(/nobody's/);
      await expect(rebindNewcomer(ledger, JANE, "same-person", ORDER)).rejects.toThrow(/already/);
      expect(await bench.entries()).toHaveLength(before);
    });

    it("moves a name to one of many who race for it", async () => {
      const accounts = Array.from({ length: 20 }, (_, i) => ({ ...NEW_JANE, subject: `s${i}` }));
      const moves = accounts.map((to, i) =>
        (i % 2 ? ledger : other).rebind({ to, sessionName: NAME, from: JANE }, { type: "identity.rebound", ...to }),
      );
      const results = await Promise.allSettled(moves);
      expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
    });

    const scopes: [string, (of: Required<Holder>) => Revocable, string, boolean][] = [
      ["a sign-in", ({ signIn }) => ({ scope: "session", signInId: signIn.id }), "session_revoked", true],
      ["a grant", ({ grantId }) => ({ scope: "grant", grantId }), "session_revoked", true],
      ["a person", ({ directory, subject }) => ({ scope: "person", directory, subject }), "person_revoked", false],
      ["everybody", () => ({ scope: "everyone" }), "session_revoked", true],
    ];
    it.each(scopes)("revokes %s: at once, for every ledger, at every step", async (_, what, code, maySignIn) => {
      const [jane, john] = [await signIn(JANE, "s1"), await signIn(JOHN, "s2", "b".repeat(32))];
      await other.append(requested("under way"), jane);
      const revoked = what(jane);
      await revoke(ledger, revoked, JANE, ORDER);
      for (const each of [ledger, other]) {
        await expect(request(each, jane)).rejects.toMatchObject({ code });
        await expect(each.sessionNameOf(jane)).rejects.toMatchObject({ code });
      }
      await expect(other.append(issued("under way"), jane)).rejects.toMatchObject({ code });
      const johns = request(other, john).then(() => "may go on");
      await (revoked.scope === "everyone"
        ? expect(johns).rejects.toMatchObject({ code })
        : expect(johns).resolves.toBe("may go on"));
      const again = other.bind(JANE, NAME, boundEvent(JANE, NAME));
      await (maySignIn ? expect(again).resolves.toBe(NAME) : expect(again).rejects.toMatchObject({ code }));
      const later = request(other, await signIn(JANE, "s3", "c".repeat(32))).then(() => "may go on");
      await (maySignIn ? expect(later).resolves.toBe("may go on") : expect(later).rejects.toMatchObject({ code }));
      expect(await other.revocations()).toMatchObject([{ what: revoked, effect: "revoked", about: JANE, ...ORDER }]);
    });

    it("lets a person in again when that is lifted, and by nothing that they had before", async () => {
      await expect(lift(ledger, JANE, JANE, ORDER)).rejects.toThrow(/nothing is revoked/);
      const before = await signIn(JANE, "s1");
      await revoke(ledger, { scope: "person", ...JANE }, JANE, ORDER);
      await lift(other, JANE, JANE, ORDER);
      await expect(request(ledger, before)).rejects.toMatchObject({ code: "session_revoked" });
      expect(await request(ledger, await signIn(JANE, "s2"))).toMatchObject({ seq: expect.any(Number) as number });
    });

    it("does not let who is kept out come back by another account", async () => {
      await revoke(ledger, { scope: "person", ...JANE }, JANE, ORDER);
      await expect(rebindNewcomer(ledger, NEW_JANE, "same-person", ORDER)).rejects.toThrow(/lift that first/);
      await expect(ledger.sessionNameOf(NEW_JANE)).resolves.toBeUndefined();
    });

    it("goes by the clock too, so that a log restored to an older state lets nobody slip past", async () => {
      const { seq } = await revoke(ledger, { scope: "everyone" }, {}, ORDER);
      const ofLostRows = { ...JANE, signedInAt: Date.now() - 60_000, signIn: { id: "lost", seq: seq + 1000 } };
      await expect(request(ledger, ofLostRows)).rejects.toMatchObject({ code: "session_revoked" });
    });

    it("lets no request in after the revocation, however many race with it", async () => {
      const jane = await signIn(JANE, "s1");
      const racing = Array.from({ length: 60 }, (_, i) => request(i % 2 ? ledger : other, jane));
      const revocation = revoke(ledger, { scope: "grant", grantId: jane.grantId }, JANE, ORDER);
      const late = Array.from({ length: 60 }, (_, i) => request(i % 2 ? ledger : other, jane));
      const results = await Promise.allSettled([...racing, ...late]);
      const { seq } = await revocation;
      for (const result of results) {
        if (result.status === "fulfilled") expect(result.value.seq).toBeLessThan(seq);
        else expect(result.reason).toMatchObject({ code: "session_revoked" });
      }
      expect(results.at(-1)).toMatchObject({ status: "rejected" });
    });
  });
}
