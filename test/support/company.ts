import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { readEntries } from "../../src/ledger/log-reader.ts";
import type { LedgerEntry } from "../../src/ledger/row.ts";
import { readSqlite } from "../../src/ledger/sqlite.ts";
import type { StandInId, StandInProvider } from "../../src/sandbox/idp.ts";
import { signInByCommandLine } from "../../src/sandbox/once.ts";
import type { Person } from "../../src/sandbox/people.ts";
import { ledgerFileIn, startSandbox, type Sandbox } from "../../src/sandbox/sandbox.ts";
import { Machine } from "./command-line.ts";
import { recordingLog, type LogLine } from "./log.ts";

const BROKER = fileURLToPath(new URL("../../src/broker.ts", import.meta.url));

/** The made-up company with its broker, on free ports, its files in a folder that goes with it. */
export interface Company extends Sandbox {
  readonly folder: string;
  readonly logged: readonly LogLine[];
  /** The log's lines that tell of an answer. */
  readonly answers: readonly LogLine[];
  /** The machine of somebody who has signed in there. */
  employee(provider: StandInId, person?: string): Promise<Machine>;
  rows(): Promise<LedgerEntry[]>;
}

export async function startCompany(
  options: Partial<Pick<Parameters<typeof startSandbox>[0], "redisUrl" | "start" | "now" | "jwksCacheSeconds">> = {},
): Promise<Company> {
  const folder = await mkdtemp(join(tmpdir(), "rolecall-company-"));
  const log = recordingLog();
  const ports = { broker: 0, aws: 0, okta: 0, entra: 0, auth0: 0 };
  const sandbox = await startSandbox({ folder, ports, log, ...options });
  return {
    ...sandbox,
    folder,
    logged: log.lines,
    answers: log.answers,
    async employee(id, name) {
      const provider = standIn(sandbox, id);
      const machine = new Machine();
      machine.env["ROLECALL_HOME"] = join(machine.home, ".rolecall");
      await signInByCommandLine(sandbox, machine.env["ROLECALL_HOME"], provider, personOf(provider, name));
      return machine;
    },
    async rows() {
      const db = readSqlite(ledgerFileIn(folder));
      try {
        return await Array.fromAsync(readEntries(db));
      } finally {
        await db.destroy();
      }
    },
    async close() {
      await sandbox.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
}

export function standIn(sandbox: Sandbox, id: StandInId): StandInProvider {
  const provider = sandbox.providers.find((candidate) => candidate.id === id);
  if (!provider) throw new Error(`no provider ${id}`);
  return provider;
}

/** By the beginning of their name; left out: the first who is let in. */
export function personOf(provider: StandInProvider, name?: string): Person {
  const person = provider.people.find((candidate) =>
    name === undefined ? candidate.refused === undefined : candidate.name.startsWith(name),
  );
  if (!person) throw new Error(`nobody like ${name ?? "that"} at ${provider.id}`);
  return person;
}

/** Writes the AWS profile `rolecall` as `rolecall configure` does, and tells AWS clients on `machine` to use it. */
export async function useProfile(machine: Machine, company: Company): Promise<void> {
  const file = join(machine.home, "aws-config");
  machine.env["AWS_CONFIG_FILE"] = file;
  machine.env["AWS_SHARED_CREDENTIALS_FILE"] = join(machine.home, "no-credentials");
  machine.env["AWS_PROFILE"] = "rolecall";
  machine.env["AWS_EC2_METADATA_DISABLED"] = "true";
  await writeFile(file, "");
  const { baseUrl, aws } = company.config;
  const { code, stderr } = await machine.run(["configure", "--broker", baseUrl, "--region", aws.region]);
  if (code !== 0) throw new Error(stderr);
}

/** The operators' program; resolves also when it fails. */
export async function broker(...args: string[]): Promise<{ code: number; stdout: string; stderr: string }> {
  const all = [BROKER, ...args];
  try {
    const { stdout, stderr } = await promisify(execFile)(process.execPath, all, { env: { PATH: process.env["PATH"] } });
    return { code: 0, stdout, stderr };
  } catch (error) {
    return error as { code: number; stdout: string; stderr: string };
  }
}
