#!/usr/bin/env node
import { join, resolve } from "node:path";
import { Command, CommanderError, InvalidArgumentError, Option } from "commander";
import type { Config } from "./config/config.ts";
import type { Ledger } from "./ledger/ledger.ts";
import { VERSION } from "./cli/version.ts";
import type { AuditIo } from "./operator/audit.ts";
import type { OperatorIo } from "./operator/check.ts";
import type { KeyUse } from "./keys/key-states.ts";
import type { ConfiguredLedger } from "./operator/configured-ledger.ts";
import type { PeopleImportOptions } from "./operator/people-import.ts";
import type { PeopleRebindOptions } from "./operator/people.ts";
import type { RevokeOptions } from "./operator/revoke.ts";
import type { TemplateOptions } from "./operator/template.ts";

/** The operators' program: parses, and runs one command. Each is loaded when it is asked for, and not before. */

const stop = new AbortController();
for (const signal of ["SIGTERM", "SIGINT"] as const) {
  process.once(signal, () => {
    stop.abort();
  });
}
// Whoever read the output has gone away, as `head` does.
process.stdout.on("error", () => {
  stop.abort();
});

const io: OperatorIo = {
  env: process.env,
  out: (text) => void process.stdout.write(text),
  err: (text) => void process.stderr.write(text),
};
const auditIo: AuditIo = {
  signal: stop.signal,
  // A record of millions of rows must not pile up in memory.
  out: (text) => written(process.stdout, text),
  err: io.err,
};

const CONFIG = ["--config <file>", "the configuration", fromHere, fromHere("rolecall.yaml")] as const;
const JSON_OUTPUT = ["--json", "print JSON, for programs"] as const;

const program = new Command("rolecall-broker")
  .description("Company sign-in to short-lived, tagged AWS credentials: the broker, and its operators' commands.")
  .version(VERSION)
  .showHelpAfterError("hint: rolecall-broker --help")
  .exitOverride()
  .addHelpText(
    "after",
    `
Examples:
  rolecall-broker check --config rolecall.yaml
  rolecall-broker explain --provider okta --claims claims.json
  rolecall-broker template aws/role > role.yaml
  rolecall-broker keys list
  rolecall-broker serve --config /etc/rolecall/rolecall.yaml

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.`,
  );

program
  .command("serve")
  .description("run the broker until it is told to stop (SIGTERM)")
  .option(...CONFIG)
  .addHelpText("after", "\nExample:\n  rolecall-broker serve --config /etc/rolecall/rolecall.yaml")
  .action(async (options: { config: string }) => {
    const { serve } = await import("./operator/serve.ts");
    process.exitCode = await serve(options, io, stop.signal);
  });

program
  .command("check")
  .description("read the configuration and name every fault at once")
  .option(...CONFIG)
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker check --config rolecall.yaml --json")
  .action(async (options: { config: string; json?: true }) => {
    const { check } = await import("./operator/check.ts");
    process.exitCode = await check({ json: false, ...options }, io);
  });

program
  .command("explain")
  .description("show what somebody with these claims would be given, and why; exit 1 where they would be refused")
  .option(...CONFIG)
  .requiredOption("--provider <id>", "the provider that sends the claims")
  .requiredOption("--claims <file>", "a JSON object of claims as the provider sends them", fromHere)
  .option(...JSON_OUTPUT)
  .addHelpText(
    "after",
    "\nExample:\n  rolecall-broker explain --config examples/okta.yaml --provider okta --claims examples/claims/okta.json",
  )
  .action(async (options: { config: string; provider: string; claims: string; json?: true }) => {
    const { explain } = await import("./operator/explain.ts");
    process.exitCode = await explain({ json: false, ...options }, io);
  });

program
  .command("template")
  .description(
    "print a template for AWS or a guide for an identity provider, filled in from the configuration, or the ledger's tables",
  )
  .argument(
    "<name>",
    "aws/role, aws/deny-person, aws/deny-sessions, aws/break-glass, postgres/ledger, or idp/KIND-PROTOCOL, as in idp/okta-saml",
  )
  .option(...CONFIG)
  .option("--session-name <name>", "aws/deny-person: whose sessions are denied")
  .option("--before <time>", "aws/deny-…: only sessions that began before then, as in 2026-11-22T21:00:00Z")
  .option("--provider <id>", "idp/…: the guide for this provider alone")
  .addHelpText(
    "after",
    "\nExamples:\n  rolecall-broker template aws/role --config rolecall.yaml > role.yaml\n" +
      "  rolecall-broker template aws/deny-person --session-name jane@acme.example > deny.json",
  )
  .action(async (name: string, options: { config: string } & TemplateOptions) => {
    const { printTemplate } = await import("./operator/template.ts");
    process.exitCode = await printTemplate(name, options, io);
  });

const people = program.command("people").description("who has which session name");

people
  .command("list")
  .description("show every account and its session name, or who waits for a decision about one")
  .option(...CONFIG)
  .option("--email <email>", "only of this email or session name")
  .option("--waiting", "who was refused because their email is another account's name")
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker people list --waiting")
  .action(async ({ config, ...rest }: { config: string; email?: string; waiting?: true; json?: true }) => {
    const { peopleList } = await import("./operator/people.ts");
    process.exitCode = await withRecordOf(config, (ledger) => peopleList(ledger, rest, io));
  });

people
  .command("import")
  .description("give accounts their session names before they sign in, as when a company changes its directory")
  .argument(
    "<file>",
    "CSV: directory,subject,email and, for the same human, previousDirectory,previousSubject",
    fromHere,
  )
  .option(...CONFIG)
  .option("--same-person", "whoever brings an email that is another account's name is the same human")
  .option("--apply", "write it; without, it shows what it would do")
  .option("--reason <text>", "why, for the record")
  .option(...JSON_OUTPUT)
  .addHelpText(
    "after",
    "\nExample:\n  rolecall-broker people import move.csv --apply --reason 'Okta to Entra ID, CHG-1042'",
  )
  .action(async (file: string, { config, ...rest }: { config: string } & Omit<PeopleImportOptions, "file">) => {
    const { peopleImport } = await import("./operator/people-import.ts");
    process.exitCode = await withRecordOf(config, (ledger, its) => peopleImport(ledger, its, { file, ...rest }, io));
  });

people
  .command("rebind")
  .description("decide about an account whose email is another one's session name")
  .option(...CONFIG)
  .option("--request <id>", "the request ID of its refusal: people list --waiting")
  .option("--directory <id>", "the account, instead of --request: its directory,")
  .option("--subject <id>", "its subject there,")
  .option("--email <email>", "and its email")
  .option("--same-person", "the same human: the name moves here, and the account that had it is closed")
  .option("--another-person", "another human: this account gets a name of its own")
  .requiredOption("--reason <text>", "why, for the record")
  .option(...JSON_OUTPUT)
  .addHelpText(
    "after",
    "\nExample:\n  rolecall-broker people rebind --request ID --same-person --reason 're-hired, HR-77'",
  )
  .action(async ({ config, ...rest }: { config: string } & PeopleRebindOptions) => {
    const { peopleRebind } = await import("./operator/people.ts");
    process.exitCode = await withRecordOf(config, (ledger, its) => peopleRebind(ledger, its, rest, io));
  });

program
  .command("revoke")
  .description("end a sign-in, a command line or everything of a person, at once and on every broker")
  .option(...CONFIG)
  .option("--person <who>", "session name, email or directory/subject: kept out until it is lifted")
  .option("--session <id>", "one sign-in, with the command lines that it let in: the request ID of its login.succeeded")
  .option("--grant <id>", "one command line: the grantId of its rows")
  .option("--everyone", "every sign-in until now")
  .option("--lift", "let the person in again; what was ended stays ended")
  .option("--list", "show what was revoked and lifted")
  .option("--reason <text>", "why, for the record")
  .option(...JSON_OUTPUT)
  .addHelpText(
    "after",
    "\nExample:\n  rolecall-broker revoke --person jane@acme.example --reason 'laptop stolen, SEC-9'",
  )
  .action(async ({ config, ...rest }: { config: string } & RevokeOptions) => {
    const { revokeCommand } = await import("./operator/revoke.ts");
    process.exitCode = await withRecordOf(config, (ledger, its) => revokeCommand(ledger, its, rest, io, Date.now()));
  });

const audit = program.command("audit").description("the record: checked, taken away, followed");

audit
  .command("verify")
  .description("recompute the whole record; exit 1 and the first bad row where it does not hold")
  .option(...CONFIG)
  .option("--checkpoint <file...>", "a checkpoint that was kept elsewhere: proves that nothing up to it is missing")
  .option("--key <verifier key>", "the checkpoints' public key; left out: that of keys.json or checkpointKey")
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker audit verify --checkpoint kept-elsewhere.txt")
  .action(async (options: { config: string; checkpoint?: string[]; key?: string; json?: true }) => {
    const { auditVerify } = await import("./operator/audit.ts");
    const { checkpoint: files = [], config, key, ...rest } = options;
    const checkpointFiles = files.map(fromHere);
    process.exitCode = await withLedger(config, ({ ledger, checkpointKey }) =>
      auditVerify({ ledger, checkpointPublicKey: key ?? checkpointKey, checkpointFiles, ...rest }, auditIo),
    );
  });

audit
  .command("export")
  .description("write every entry with its personal data, oldest first")
  .option(...CONFIG)
  .option("--format <format>", "jsonl or csv", oneOf("jsonl", "csv"), "jsonl")
  .addHelpText("after", "\nExample:\n  rolecall-broker audit export --format csv > ledger.csv")
  .action(async ({ config, format }: { config: string; format: "jsonl" | "csv" }) => {
    const { auditExport } = await import("./operator/audit.ts");
    process.exitCode = await withLedger(config, ({ ledger }) => auditExport({ ledger, format }, auditIo));
  });

audit
  .command("tail")
  .description("show the last entries, then each new one")
  .option(...CONFIG)
  .option("--lines <count>", "entries to begin with", wholeNumber, 10)
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker audit tail --lines 100 --json")
  .action(async ({ config, ...rest }: { config: string; lines: number; json?: true }) => {
    const { auditTail } = await import("./operator/audit.ts");
    process.exitCode = await withLedger(config, ({ ledger }) => auditTail({ ledger, ...rest }, auditIo));
  });

const ledger = program.command("ledger").description("the record's database");

ledger
  .command("backup")
  .description("copy the SQLite ledger in stateDir to one file, beside a running broker, and verify the copy")
  .argument("<file>", "where to; never written over", fromHere)
  .option(...CONFIG)
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker ledger backup /backup/ledger-2026-11-22.db")
  .action(async (file: string, { config, ...rest }: { config: string; json?: true }) => {
    const { ledgerBackup } = await import("./operator/ledger-backup.ts");
    process.exitCode = await withLedger(config, (it) => ledgerBackup(it, { file, ...rest }, io));
  });

ledger
  .command("copy")
  .description("copy the SQLite ledger in stateDir into the empty PostgreSQL of ledger.url, with every proof")
  .option(...CONFIG)
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nStop the brokers first.\n\nExample:\n  rolecall-broker ledger copy --config rolecall.yaml")
  .action(async ({ config, ...rest }: { config: string; json?: true }) => {
    const { ledgerCopy } = await import("./operator/ledger-copy.ts");
    process.exitCode = await withLedger(config, (it) => ledgerCopy(it, rest, io));
  });

const keys = program.command("keys").description("what is signed and sealed with: prepared, active, retired, revoked");

keys
  .command("list")
  .description("show every key, what it is now and until when")
  .option(...CONFIG)
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker keys list --config rolecall.yaml")
  .action(async (options: { config: string; json?: true }) => {
    const { keysList } = await import("./operator/keys.ts");
    process.exitCode = await keysList({ json: false, ...options }, io);
  });

keys
  .command("rotate")
  .description("prepare the next key: published at once, active by itself after the delay")
  .option(...CONFIG)
  .addOption(
    new Option("--use <use>", "what the key is for")
      .choices(["federation", "saml", "oauth", "cookies", "sealing"])
      .default("federation"),
  )
  .addOption(new Option("--delay <duration>", "until it is active, 1m to 30d").default("24h"))
  .addOption(new Option("--now", "active at once; with a key that is prepared already, that one").conflicts("delay"))
  .option("--activate", "for saml: the prepared key signs from now on, since AWS has its certificate")
  .option("--kms <arn>", "for federation: a key in AWS KMS instead of one in keys.json")
  .option(...JSON_OUTPUT)
  .addHelpText(
    "after",
    `
Run it for one keys.json, then copy that where brokers have copies of their own.

Examples:
  rolecall-broker keys rotate --config rolecall.yaml
  rolecall-broker keys rotate --use cookies --delay 1h
  rolecall-broker keys rotate --use saml
  rolecall-broker keys rotate --use saml --activate
  rolecall-broker keys rotate --kms arn:aws:kms:us-east-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab`,
  )
  .action(
    async (options: {
      config: string;
      use: KeyUse;
      delay: string;
      now?: true;
      activate?: true;
      kms?: string;
      json?: true;
    }) => {
      const { keysRotate } = await import("./operator/keys.ts");
      process.exitCode = await keysRotate(options, io);
    },
  );

keys
  .command("revoke")
  .description("withdraw a key for good, at once; the prepared one takes over, or a new one")
  .argument("<kid>", "as keys list shows it")
  .option(...CONFIG)
  .option(...JSON_OUTPUT)
  .addHelpText("after", "\nExample:\n  rolecall-broker keys revoke zpFXBMzGh0hwLq4vvlkhEZHFzKAAoCOqFBoOWSEIyEQ")
  .action(async (kid: string, options: { config: string; json?: true }) => {
    const { keysRevoke } = await import("./operator/keys.ts");
    process.exitCode = await keysRevoke({ kid, ...options }, io);
  });

keys
  .command("checkpoint")
  .description("move the key that signs the record's checkpoints out of keys.json")
  .option(...CONFIG)
  .requiredOption("--move-to <file>", "a new file, which the configuration's checkpointKey then names", fromHere)
  .addHelpText("after", "\nExample:\n  rolecall-broker keys checkpoint --move-to /etc/rolecall/checkpoint-key.json")
  .action(async ({ config, moveTo }: { config: string; moveTo: string }) => {
    const { moveCheckpointKey } = await import("./operator/keys.ts");
    process.exitCode = await moveCheckpointKey({ config, file: moveTo }, io);
  });

try {
  await program.parseAsync();
} catch (error) {
  // commander has said it already; help is an error of exit code 0 to it.
  if (!(error instanceof CommanderError)) throw error;
  process.exitCode = error.exitCode === 0 ? 0 : 2;
}

async function withLedger(config: string, work: (ledger: ConfiguredLedger) => Promise<number>): Promise<number> {
  const { withConfiguredLedger } = await import("./operator/configured-ledger.ts");
  return withConfiguredLedger(config, io, work);
}

/** With the record open to be written, beside running brokers. */
async function withRecordOf(
  config: string,
  work: (ledger: Ledger, config: Config) => Promise<number>,
): Promise<number> {
  const { withRecord } = await import("./operator/record.ts");
  return withLedger(config, (configured) =>
    withRecord(configured.ledger, io, (ledger) => work(ledger, configured.config)),
  );
}

/** Paths count from where the user stands, also when npm has gone to the checkout's root (INIT_CWD). */
function fromHere(path: string): string {
  return resolve(join(process.env["INIT_CWD"] ?? "", "."), path);
}

function oneOf(...choices: string[]): (text: string) => string {
  return (text) => {
    if (choices.includes(text)) return text;
    throw new InvalidArgumentError(`It must be ${choices.join(" or ")}.`);
  };
}

function wholeNumber(text: string): number {
  if (/^\d{1,6}$/.test(text)) return Number(text);
  throw new InvalidArgumentError("It must be a whole number.");
}

/** Resolves when the stream takes more. */
function written(stream: NodeJS.WriteStream, text: string): Promise<void> {
  return new Promise((done) =>
    stream.write(text, () => {
      done();
    }),
  );
}
