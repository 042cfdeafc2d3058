import { afterAll, beforeAll } from "vitest";
import { openLedger } from "../../src/ledger/ledger.ts";
import { CHECKPOINT_KEY, entriesAt } from "../support/ledger.ts";
import { recordingLog } from "../support/log.ts";
import { startPostgres, type TestPostgres } from "../support/postgres.ts";
import { ledgerConformance } from "./conformance.ts";

const options = { checkpointKey: CHECKPOINT_KEY, log: recordingLog() };
let postgres: TestPostgres;

beforeAll(async () => {
  postgres = await startPostgres();
});

afterAll(async () => {
  await postgres.remove();
});

// As a role that may INSERT and SELECT only, and in a database whose defaults would break the order.
ledgerConformance("PostgreSQL", async () => {
  const database = await postgres.database({ settings: "default_transaction_isolation = 'serializable'" });
  const place = { url: database.broker };
  return {
    place,
    open: (more) => openLedger({ ...place, ...options, deadlineMs: 20_000, ...more }),
    entries: () => entriesAt(place),
    remove: () => database.drop(),
  };
});
