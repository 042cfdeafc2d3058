import { readdirSync, readFileSync } from "node:fs";
import { basename } from "node:path";
import { Eta } from "eta/core";
import { reason, type ReasonCode } from "../flow/errors.ts";

/** Every page of the broker as HTML. All values are escaped by the templates' engine; none is trusted. */
export interface Pages {
  signIn(page: SignInPage): string;
  account(page: AccountPage): string;
  approval(page: ApprovalPage): string;
  refusal(page: RefusalPage): string;
  /** Sends the browser's person on by a form. */
  post(page: PostPage): string;
  /** What a reason code means, for whoever follows the `type` of a problem+json. */
  problem(code: ReasonCode): string;
}

export interface SignInPage {
  readonly providers: readonly { readonly label: string; readonly href: string }[];
  /** Why it is shown again, or what it is for. */
  readonly notice: string | undefined;
}

export interface AccountPage {
  readonly email: string;
  readonly provider: string;
  readonly signedInAt: Instant;
  readonly signInEnds: Instant;
  /** Words: "1 hour". */
  readonly credentialsLast: string;
  readonly decision:
    | {
        readonly tags: readonly { readonly key: string; readonly value: string; readonly why: string }[];
        readonly sessionName: string;
        readonly sessionArn: string;
      }
    /** Credentials would be refused now. */
    | {
        readonly refused: {
          readonly code: ReasonCode;
          readonly sentence: string;
          /** Which tag and which rule; undefined: the refusal is about no tag. */
          readonly detail: string | undefined;
          readonly remedy: string;
        };
      };
  /** What every rule did, a line each. */
  readonly trace: readonly string[];
  readonly commands: string;
  readonly profile: string;
}

export interface ApprovalPage {
  readonly email: string;
  readonly provider: string;
  readonly client: string;
  /** Host and port of the program that gets the answer. */
  readonly target: string;
  readonly action: string;
  readonly sessionName: string | undefined;
  readonly refused: { readonly sentence: string; readonly remedy: string } | undefined;
}

export interface RefusalPage {
  readonly code: ReasonCode;
  readonly requestId: string;
}

export interface PostPage {
  readonly action: string;
  readonly fields: Readonly<Record<string, string>>;
}

/** A moment for people and for machines. */
export interface Instant {
  /** `2026-11-22 21:04 UTC` */
  readonly text: string;
  /** ISO 8601. */
  readonly iso: string;
}

/** `at` (epoch milliseconds) as pages write it: UTC, to the minute. */
export function instant(at: number): Instant {
  const iso = new Date(at).toISOString();
  return { iso, text: `${iso.slice(0, 10)} ${iso.slice(11, 16)} UTC` };
}

/** `seconds` in words: `1 hour 30 minutes`. Less than a minute counts as one. */
export function inWords(seconds: number): string {
  const minutes = Math.max(1, Math.round(seconds / 60));
  const parts = [counted(Math.floor(minutes / 60), "hour"), counted(minutes % 60, "minute")];
  return parts.filter((part) => part !== "").join(" ");
}

function counted(count: number, unit: string): string {
  if (count === 0) return "";
  return count === 1 ? `1 ${unit}` : `${count} ${unit}s`;
}

/** Where templates and assets lie, the same from src/http and from dist/http. */
export const TEMPLATES = new URL("../../templates/", import.meta.url);

/** Reads and compiles every template of templates/pages now, so that no request touches the disk. */
export function loadPages(): Pages {
  const eta = new Eta({ autoEscape: true });
  const folder = new URL("pages/", TEMPLATES);
  for (const file of readdirSync(folder).filter((name) => name.endsWith(".eta"))) {
    eta.loadTemplate(`@${basename(file, ".eta")}`, readFileSync(new URL(file, folder), "utf8"));
  }
  return {
    signIn: (page) => eta.render("@sign-in", page),
    account: (page) => eta.render("@account", page),
    approval: (page) => eta.render("@approval", page),
    refusal: (page) => eta.render("@refusal", { ...page, ...reason(page.code) }),
    post: (page) => eta.render("@post", page),
    problem: (code) => eta.render("@problem", { code, ...reason(code) }),
  };
}
