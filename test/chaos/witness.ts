import type { PersonOfChaos } from "./people.ts";

/** Credentials as a client got them, and who that was. */
export interface Handed {
  readonly person: PersonOfChaos;
  readonly accessKeyId: string;
  readonly sessionArn: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly ledgerSeq: number;
}

/** What the clients of a site saw: remembered, and held against the record afterwards. */
export class Witness {
  readonly handed: Handed[] = [];
  /** Each once. */
  readonly violations = new Set<string>();
  /** Answers by reason code, or by what came instead of one. */
  readonly refused = new Map<string, number>();
  requests = 0;
  signIns = 0;
  /** Sign-ins that were lost as the documentation says that they can be. */
  lost = 0;
  /** Milliseconds. */
  slowest = 0;

  refuse(code: string): void {
    this.refused.set(code, (this.refused.get(code) ?? 0) + 1);
  }

  violation(what: string): void {
    this.violations.add(what);
  }
}
