import { DatabaseSync } from "node:sqlite";
import { parentPort, workerData } from "node:worker_threads";

/** Writes the rows of one message in one transaction, as durable as the ledger's (WAL, synchronous FULL). */
const db = new DatabaseSync(workerData as string);
db.exec("pragma journal_mode = wal");
db.exec("pragma synchronous = full");
db.exec("create table if not exists rows (seq integer primary key, row text not null)");
const insert = db.prepare("insert into rows (row) values (?)");

parentPort?.on("message", (rows: readonly string[]) => {
  db.exec("begin immediate");
  for (const row of rows) insert.run(row);
  db.exec("commit");
  parentPort?.postMessage("done");
});
