import { describe, expect, it } from "vitest";
import { Grants, type ReusedGrant } from "../../src/oauth/grants.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { jane } from "../support/authorization.ts";
import { recordingLog } from "../support/log.ts";

function newGrants() {
  const store = memoryStore();
  const reused: ReusedGrant[] = [];
  const onReused = (grant: ReusedGrant): Promise<void> => {
    reused.push(grant);
    return Promise.resolve();
  };
  return { store, reused, grants: new Grants(store, { longestLifeSeconds: 60, onReused, log: recordingLog() }) };
}

describe("a grant that has ended", () => {
  it("is never written to again", async () => {
    const { store, grants } = newGrants();
    const written: string[] = [];
    const watched = new Grants(
      { ...store, set: (key, ...rest) => (written.push(key), store.set(key, ...rest)) },
      { longestLifeSeconds: 60, onReused: () => Promise.resolve(), log: recordingLog() },
    );
    expect(await watched.keep("g", "refresh-token:1", "first", 60)).toBe(true);
    expect(await grants.end("g")).toBe(true);
    expect(await watched.keep("g", "refresh-token:1", "second", 60)).toBe(false);
    expect(await watched.keep("g", "refresh-token:2", "child", 60)).toBe(false);
    await watched.keepSubject("g", { clientId: "rolecall-cli", identity: jane() }, 60);
    expect(written).toEqual([]);
    expect(await grants.find("g", "refresh-token:1")).toBeUndefined();
    expect(await grants.find("g", "refresh-token:2")).toBeUndefined();
    expect(await grants.subjectOf("g")).toBeUndefined();
  });

  it("no longer holds whose it was", async () => {
    const { store, grants } = newGrants();
    const deleted: string[] = [];
    const watched = new Grants(
      { ...store, delete: (key) => (deleted.push(key), store.delete(key)) },
      { longestLifeSeconds: 60, onReused: () => Promise.resolve(), log: recordingLog() },
    );
    await grants.keepSubject("g", { clientId: "rolecall-cli", identity: jane() }, 60);
    await watched.end("g");
    expect(deleted).toEqual([expect.stringMatching(/^oauth:\{[\w-]{43}\}:subject$/)]);
  });

  it("is reported once as reused, and not at all where it had ended before", async () => {
    const { reused, grants } = newGrants();
    const subject = { clientId: "rolecall-cli", identity: jane() };
    await grants.keepSubject("g", subject, 60);
    await Promise.all([grants.endReused("g"), grants.endReused("g"), grants.endReused("g")]);
    expect(reused).toEqual([{ grantId: "g", ...subject }]);
    await grants.keepSubject("h", subject, 60);
    await grants.end("h");
    await grants.endReused("h");
    expect(reused).toHaveLength(1);
  });

  it("leaves other grants as they are", async () => {
    const { grants } = newGrants();
    await grants.keep("a", "grant", "value", 60);
    await grants.keep("b", "grant", "value", 60);
    await grants.end("a");
    expect([await grants.find("a", "grant"), await grants.find("b", "grant")]).toEqual([undefined, "value"]);
  });
});
