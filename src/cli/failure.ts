/**
 * A command that could not do what it was asked. `message` is one sentence for the person, `hint` what to do about it;
 * neither ever holds a token, a code or a key. Exit codes: 1 refused or failed, 2 wrong usage.
 */
export class CommandFailure extends Error {
  override readonly name: string = "CommandFailure";
  readonly hint: string | undefined;
  /** Further lines, such as the broker's request ID. */
  readonly details: readonly string[];
  readonly exitCode: 1 | 2;

  constructor(
    message: string,
    more: { hint?: string | undefined; details?: readonly string[]; exitCode?: 1 | 2; cause?: unknown } = {},
  ) {
    super(message, { cause: more.cause });
    this.hint = more.hint;
    this.details = more.details ?? [];
    this.exitCode = more.exitCode ?? 1;
  }
}

/** Nobody is signed in at this broker, or the broker no longer accepts the sign-in. */
export class NotSignedIn extends CommandFailure {
  override readonly name = "NotSignedIn";

  constructor(message: string, broker: string) {
    super(message, { hint: `run: rolecall login --broker ${broker}` });
  }
}

/** The broker could not be reached, did not answer in time, or failed (5xx): another try may succeed. */
export class BrokerUnavailable extends CommandFailure {
  override readonly name = "BrokerUnavailable";
}

/** The broker said no. `code` is the stable one of its problem+json (RFC 9457), undefined where it gave none. */
export class BrokerRefusal extends CommandFailure {
  override readonly name = "BrokerRefusal";
  readonly code: string | undefined;

  constructor(code: string | undefined, message: string, more: { hint?: string | undefined; details: string[] }) {
    super(message, more);
    this.code = code;
  }
}
