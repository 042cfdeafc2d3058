import { afterEach, describe, expect, it } from "vitest";
import { Refusal } from "../../src/flow/errors.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { recordingLedger, startWeb, type Web, type WebChoices } from "../support/web.ts";

let web: Web | undefined;
afterEach(() => web?.close());

const down = () => Promise.reject(new Refusal("store_unavailable", "redis://user:hunter2@10.0.0.1 refused"));

describe("/readyz", () => {
  it.each<[string, WebChoices["parts"], number, object]>([
    ["all is well", {}, 200, { status: "ready", store: "ok", ledger: "ok", keys: "ok" }],
    [
      "the store is down",
      { store: { ...memoryStore(), ping: down } },
      503,
      { status: "not ready", store: "down", ledger: "ok", keys: "ok" },
    ],
    [
      "the ledger can't write",
      { ledger: { ...recordingLedger(), state: () => Promise.resolve({ writable: false }) } },
      503,
      { status: "not ready", store: "ok", ledger: "down", keys: "ok" },
    ],
    [
      "the ledger does not answer",
      { ledger: { ...recordingLedger(), state: down } },
      503,
      { status: "not ready", store: "ok", ledger: "down", keys: "ok" },
    ],
    [
      "no key is published",
      { documents: () => ({ discovery: {}, jwks: { keys: [] } }) },
      503,
      { status: "not ready", store: "ok", ledger: "ok", keys: "down" },
    ],
  ])("says which part, when %s, and nothing else", async (_name, parts, status, body) => {
    web = await startWeb(parts && { parts });
    const answer = await fetch(`${web.url}/readyz`);
    expect(answer.status).toBe(status);
    expect(await answer.json()).toEqual(body);
    expect((await fetch(`${web.url}/healthz`)).status).toBe(200);
  });
});

it("/readyz answers also where a part never does", async () => {
  const never = (): Promise<never> => new Promise(() => undefined);
  web = await startWeb({ parts: { store: { ...memoryStore(), ping: never } } });
  const answer = await fetch(`${web.url}/readyz`);
  expect([answer.status, await answer.json()]).toEqual([
    503,
    { status: "not ready", store: "down", ledger: "ok", keys: "ok" },
  ]);
});

it("/readyz says that the broker is about to stop, and asks nobody else", async () => {
  web = await startWeb({ parts: { isStopping: () => true, store: { ...memoryStore(), ping: down } } });
  const answer = await fetch(`${web.url}/readyz`);
  expect([answer.status, await answer.json()]).toEqual([503, { status: "stopping" }]);
  expect((await fetch(`${web.url}/healthz`)).status).toBe(200);
});

describe("the federation's documents", () => {
  it("are JSON for AWS, at the issuer's address", async () => {
    web = await startWeb();
    const discovery = await fetch(`${web.url}/federation/.well-known/openid-configuration`);
    expect(discovery.headers.get("content-type")).toContain("application/json");
    expect(await discovery.json()).toEqual({ issuer: `${web.url}/federation` });
    expect(await (await fetch(`${web.url}/federation/jwks`)).json()).toEqual({ keys: [{ kid: "one" }] });
  });
});
