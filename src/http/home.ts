import type { RequestHandler } from "express";
import type { Config } from "../config/config.ts";
import { reason } from "../flow/errors.ts";
import { sessionArnOf } from "../flow/federation-token.ts";
import { MappingRefusal } from "../flow/tags.ts";
import { localPath } from "./guard.ts";
import { inWords, instant, type AccountPage, type Pages, type SignInPage } from "./pages.ts";
import type { SessionSettings } from "./sessions.ts";
import { signInEnds, standingOf, type Decide, type Standing } from "./standing.ts";
import { traceLine, whyTag } from "./why.ts";

export interface HomeParts {
  readonly config: Config;
  readonly pages: Pages;
  readonly decide: Decide;
  readonly sessions: SessionSettings;
}

/** `/`: the choice of providers, or who is signed in and what they would be billed as. */
export function home(parts: HomeParts): RequestHandler {
  const { config, pages, decide, sessions } = parts;
  return async (req, res) => {
    const next = localPath(req.query["next"]);
    const standing = await standingOf(req, decide, sessions);
    if (standing.kind === "anonymous") {
      const signedOut = req.query["signed-out"] !== undefined;
      res.send(pages.signIn(signInPage(config, next, noticeFor(standing, next, signedOut))));
    } else if (next !== "/") {
      res.redirect(303, next);
    } else {
      res.send(pages.account(accountPage(config, standing)));
    }
  };
}

function signInPage(config: Config, next: string, notice: string | undefined): SignInPage {
  const query = next === "/" ? "" : `?next=${encodeURIComponent(next)}`;
  return { notice, providers: config.providers.map(({ id, label }) => ({ label, href: `/login/${id}${query}` })) };
}

function noticeFor(standing: Standing & { kind: "anonymous" }, next: string, signedOut: boolean): string | undefined {
  if (standing.because !== undefined) {
    const { sentence, remedy } = reason(standing.because);
    return `${sentence} ${remedy}`;
  }
  if (next.startsWith("/oauth/approve/")) return "The Rolecall command line asks for access. Sign in to answer it.";
  if (signedOut) {
    return "You are signed out of this browser. A command line that you signed in stays so: rolecall logout ends that.";
  }
  return undefined;
}

type SignedIn = Exclude<Standing, { kind: "anonymous" }>;

function accountPage(config: Config, standing: SignedIn): AccountPage {
  const { identity } = standing;
  const provider = labelOf(config, identity.provider);
  const trace = standing.kind === "accepted" ? standing.decision.trace : standing.trace;
  return {
    email: identity.email,
    provider,
    signedInAt: instant(identity.signedInAt),
    signInEnds: instant(signInEnds(config, identity)),
    credentialsLast: inWords(config.aws.sessionDurationSeconds),
    decision: decisionOf(config, standing, provider),
    trace: trace.map(traceLine),
    commands: `rolecall configure --broker ${config.baseUrl} --profile bedrock --region ${config.aws.region}\nrolecall login`,
    profile: [
      "[profile bedrock]",
      `region = ${config.aws.region}`,
      `credential_process = /usr/local/bin/rolecall credentials --broker ${config.baseUrl}`,
    ].join("\n"),
  };
}

function decisionOf(config: Config, standing: SignedIn, provider: string): AccountPage["decision"] {
  if (standing.kind === "refused") {
    const { code, message } = standing.refusal;
    const detail = standing.refusal instanceof MappingRefusal ? message : undefined;
    return { refused: { code, ...reason(code), detail } };
  }
  const { tags, trace, sessionName } = standing.decision;
  return {
    tags: Object.entries(tags).map(([key, value]) => {
      const step = trace.find((candidate) => candidate.tag === key && candidate.outcome === "spoke");
      return { key, value, why: step === undefined ? "" : whyTag(step, provider) };
    }),
    sessionName,
    sessionArn: sessionArnOf(config.aws.roleArn, sessionName),
  };
}

/** The provider as people call it; its ID where it is configured no more. */
export function labelOf(config: Config, providerId: string): string {
  return config.providers.find(({ id }) => id === providerId)?.label ?? providerId;
}
