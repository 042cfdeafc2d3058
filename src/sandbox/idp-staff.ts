import type { JsonValue } from "../flow/identity.ts";
import type { Directory, Person } from "./people.ts";

/** The people of one running stand-in, with what its administrators change while it runs. */
export class Staff {
  readonly #people: Map<string, Person>;
  readonly #disabled = new Set<string>();

  constructor(directory: Directory) {
    this.#people = new Map(directory.people.map((person) => [person.subject, person]));
  }

  /** Who may be let in, and whose refresh tokens count. */
  active(subject: string | undefined): Person | undefined {
    return subject === undefined || this.#disabled.has(subject) ? undefined : this.#people.get(subject);
  }

  disable(subject: string): void {
    this.#disabled.add(subject);
  }

  enable(subject: string): void {
    this.#disabled.delete(subject);
  }

  /** Replaces the claims named; what is told from then on has the new ones. */
  change(subject: string, claims: Readonly<Record<string, JsonValue>>): void {
    const person = this.#people.get(subject);
    if (person) this.#people.set(subject, { ...person, claims: { ...person.claims, ...claims } });
  }
}
