import type { Config } from "../config/config.ts";
import { rebindNewcomer, type KnownPerson, type NameRecord, type Newcomer } from "../flow/people.ts";
import { printable } from "../flow/printable.ts";
import type { Ledger } from "../ledger/ledger.ts";
import type { OperatorIo } from "./check.ts";
import { operatorName, UsageFault } from "./record.ts";

export interface PeopleListOptions {
  /** Only of this email or session name, in any case of letters. */
  readonly email?: string;
  /** Who was refused a name that is another account's, instead of who has one. */
  readonly waiting?: true;
  readonly json?: true;
}

/** `people list`. Resolves with the exit code. */
export async function peopleList(ledger: Ledger, options: PeopleListOptions, io: OperatorIo): Promise<number> {
  const wanted = options.email?.toLowerCase();
  const isWanted = (...names: (string | undefined)[]): boolean =>
    wanted === undefined || names.some((name) => name?.toLowerCase() === wanted);
  if (options.waiting) {
    const waiting = (await ledger.newcomers()).filter(({ email }) => isWanted(email));
    io.out(options.json ? `${JSON.stringify({ waiting })}\n` : waitingLines(waiting));
  } else {
    const people = (await ledger.people()).filter(({ email, sessionName }) => isWanted(email, sessionName));
    io.out(options.json ? `${JSON.stringify({ people })}\n` : people.map(personLine).join(""));
  }
  return 0;
}

export interface PeopleRebindOptions {
  /** The request ID of the newcomer's refusal; or all of the three after it. */
  readonly request?: string;
  readonly directory?: string;
  readonly subject?: string;
  readonly email?: string;
  readonly samePerson?: true;
  readonly anotherPerson?: true;
  readonly reason: string;
  readonly json?: true;
}

/** `people rebind`. Resolves with the exit code. */
export async function peopleRebind(
  ledger: Ledger,
  config: Pick<Config, "providers">,
  options: PeopleRebindOptions,
  io: OperatorIo,
): Promise<number> {
  if ((options.samePerson === true) === (options.anotherPerson === true)) {
    throw new UsageFault("say either --same-person or --another-person");
  }
  const newcomer = options.request === undefined ? named(config, options) : await refused(ledger, options.request);
  const order = { actor: operatorName(io.env), note: options.reason };
  const who = options.samePerson ? "same-person" : "another-person";
  const { seq, sessionName, from } = await rebindNewcomer(ledger, newcomer, who, order);
  if (options.json) {
    io.out(
      `${JSON.stringify({ ok: true, seq, sessionName, to: accountOf(newcomer), from: from && accountOf(from) })}\n`,
    );
    return 0;
  }
  io.out(`${sessionName} is ${printable(accountOf(newcomer))}'s from now on (row ${seq})\n`);
  if (from) io.out(`${printable(accountOf(from))} is closed: it gets no credentials and can't sign in\n`);
  return 0;
}

function named({ providers }: Pick<Config, "providers">, options: PeopleRebindOptions): KnownPerson {
  const { directory, subject, email } = options;
  if (directory === undefined || subject === undefined || email === undefined) {
    throw new UsageFault("say --request, or --directory, --subject and --email");
  }
  const directories = new Set(providers.map((provider) => provider.directory));
  if (!directories.has(directory))
    throw new UsageFault(`no provider has that directory, but ${[...directories].join(", ")}`);
  return { directory, subject, email };
}

async function refused(ledger: Ledger, request: string): Promise<Newcomer> {
  const newcomer = (await ledger.newcomers()).find(({ requestId }) => requestId === request);
  if (newcomer) return newcomer;
  throw new UsageFault("nobody waits under that request ID: rolecall-broker people list --waiting");
}

function personLine({ sessionName, directory, subject, email, since, state, revoked }: NameRecord): string {
  const standing = revoked ? "revoked" : state;
  return lineOf([sessionName, accountOf({ directory, subject }), email ?? "(erased)", since, standing]);
}

function waitingLines(waiting: readonly Newcomer[]): string {
  return waiting
    .map(({ time, email, directory, subject, requestId }) =>
      lineOf([time, email, accountOf({ directory, subject }), `--request ${requestId}`]),
    )
    .join("");
}

function lineOf(parts: readonly string[]): string {
  return `${parts.map(printable).join("  ")}\n`;
}

function accountOf({ directory, subject }: { directory: string; subject: string }): string {
  return `${directory}/${subject}`;
}
