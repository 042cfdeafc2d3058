import type { Config } from "../config/config.ts";
import type { Revocable } from "../flow/holder.ts";
import { peopleLike, type NameRecord } from "../flow/people.ts";
import { printable } from "../flow/printable.ts";
import { Conflict, lift, revoke, type About, type RecordedRevocation } from "../flow/revocation.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { OperatorIo } from "./check.ts";
import { operatorName, UsageFault } from "./record.ts";

export interface RevokeOptions {
  /** Session name, email, or directory/subject. */
  readonly person?: string;
  /** Request ID of the sign-in. */
  readonly session?: string;
  /** As the record has it. */
  readonly grant?: string;
  readonly everyone?: true;
  /** Ends a person's revocation instead. */
  readonly lift?: true;
  /** Shows every revocation instead. */
  readonly list?: true;
  /** Needed but to list. */
  readonly reason?: string;
  readonly json?: true;
}

/** `revoke`. Resolves with the exit code; from then on it counts, on every broker. */
export async function revokeCommand(
  ledger: Ledger,
  { aws }: Pick<Config, "aws">,
  options: RevokeOptions,
  io: OperatorIo,
  now: number,
): Promise<number> {
  if (options.list) return await listRevocations(ledger, options, io);
  if (options.reason === undefined || options.reason.trim() === "") throw new UsageFault("--reason is missing");
  const order = { actor: operatorName(io.env), note: options.reason };
  const { what, about } = await named(ledger, options);
  if (options.lift) return await liftFrom(ledger, what, about, order, options, io);
  const { seq } = await revoke(ledger, what, about, order);
  const until = new Date(now + aws.sessionDurationSeconds * 1000).toISOString();
  if (options.json) {
    io.out(`${JSON.stringify({ ok: true, seq, ...what, ...about, credentialsOutUntil: until })}\n`);
    return 0;
  }
  io.out(`revoked: ${printable(describe(what, about))} (row ${seq})\n${consequence(what)}`);
  io.out(
    `Credentials that are out already work until ${until} at the latest. To end them at once, deny them in AWS:\n` +
      `${what.scope === "everyone" ? "  rolecall-broker template aws/deny-sessions" : denyOne(about)} (docs/recovery.md)\n`,
  );
  return 0;
}

async function liftFrom(
  ledger: Ledger,
  what: Revocable,
  about: About,
  order: { actor: string; note: string },
  { json }: RevokeOptions,
  io: OperatorIo,
): Promise<number> {
  if (what.scope !== "person") throw new UsageFault("only a person's revocation can be lifted: --lift --person WHO");
  const { seq } = await lift(ledger, what, about, order);
  if (json) io.out(`${JSON.stringify({ ok: true, seq, ...what, ...about })}\n`);
  else
    io.out(`lifted: ${printable(describe(what, about))} may sign in again (row ${seq}); what was ended stays ended\n`);
  return 0;
}

async function listRevocations(ledger: Ledger, { json }: RevokeOptions, io: OperatorIo): Promise<number> {
  const revocations = await ledger.revocations();
  if (json) io.out(`${JSON.stringify({ revocations })}\n`);
  else io.out(revocations.map(revocationLine).join(""));
  return 0;
}

/** What is to be revoked, and whose it is. Throws where it isn't one thing. */
async function named(ledger: Ledger, options: RevokeOptions): Promise<{ what: Revocable; about: About }> {
  const { person, session, grant, everyone } = options;
  const given = [person, session, grant, everyone].filter((choice) => choice !== undefined);
  if (given.length !== 1) throw new UsageFault("say one of --person, --session, --grant and --everyone");
  if (person !== undefined) return await personNamed(ledger, person);
  if (session !== undefined) {
    const about = await ledger.signIn(session);
    if (!about) throw new Conflict("no sign-in has that ID: it is the request ID of a login.succeeded");
    return { what: { scope: "session", signInId: session }, about };
  }
  if (grant !== undefined) {
    const about = await ledger.grant(grant);
    if (!about) throw new Conflict("no row names that grant: it is the grantId of a credentials.requested");
    return { what: { scope: "grant", grantId: grant }, about };
  }
  return { what: { scope: "everyone" }, about: {} };
}

async function personNamed(ledger: Ledger, who: string): Promise<{ what: Revocable; about: About }> {
  const found = peopleLike(await ledger.people(), who);
  const [one, ...others] = found;
  if (one === undefined) throw new Conflict("nobody has that session name, email or directory/subject");
  if (others.length > 0) {
    throw new Conflict(
      `that could be several; name one of them by directory/subject: ${found.map(account).join(", ")}`,
    );
  }
  const { directory, subject, email, sessionName } = one;
  return {
    what: { scope: "person", directory, subject },
    about: { directory, subject, sessionName, ...(email !== undefined && { email }) },
  };
}

function account({ directory, subject }: Pick<NameRecord, "directory" | "subject">): string {
  return `${directory}/${subject}`;
}

function denyOne({ sessionName }: About): string {
  return `  rolecall-broker template aws/deny-person --session-name ${printable(sessionName ?? "NAME")}`;
}

function consequence(what: Revocable): string {
  switch (what.scope) {
    case "person":
      return (
        "No credentials, no sign-in, on every broker, until it is lifted:\n" +
        `  rolecall-broker revoke --lift --person ${shellWord(printable(account(what)))} --reason TEXT\n`
      );
    case "session":
      return "No credentials by that sign-in, in the browser or on a command line; the person can sign in again.\n";
    case "grant":
      return "No credentials by that command line; the person can sign in again.\n";
    case "everyone":
      return "No credentials by any sign-in until now; everybody can sign in again.\n";
  }
}

/** One word of a POSIX shell (XCU 2.2.2), whatever is in it: people paste the line. */
function shellWord(text: string): string {
  return `'${text.replaceAll("'", String.raw`'\''`)}'`;
}

function describe(what: Revocable, { sessionName, email, directory, subject }: About): string {
  const who = sessionName ?? email ?? "";
  const whose = directory !== undefined && subject !== undefined ? `${who} (${account({ directory, subject })})` : who;
  switch (what.scope) {
    case "person":
      return whose;
    case "session":
      return `the sign-in ${what.signInId} of ${whose}`;
    case "grant":
      return `the command line ${what.grantId} of ${whose}`;
    case "everyone":
      return "every sign-in until now";
  }
}

function revocationLine({ seq, time, effect, what, about, actor, note }: RecordedRevocation): string {
  const parts = [time, String(seq), effect, describe(what, about), actor ?? "(erased)", note ?? ""];
  return `${parts.map(printable).join("  ")}\n`;
}
