import type { Request, RequestHandler, Response } from "express";
import type { Config } from "../config/config.ts";
import { Refusal, asRefusal, reason } from "../flow/errors.ts";
import type { Identity } from "../flow/identity.ts";
import type { LedgerPort } from "../flow/ports.ts";
import { callerFacts, personFacts, recordRefusal } from "../flow/sign-in.ts";
import type { AuthorizationServer, PendingApproval } from "./authorization-server.ts";
import { allowFormRedirect, callerOf, requireSameOrigin } from "./guard.ts";
import { labelOf } from "./home.ts";
import type { ApprovalPage, Pages } from "./pages.ts";
import type { SessionSettings } from "./sessions.ts";
import { standingOf, type Decide, type Standing } from "./standing.ts";

export interface ApprovalParts {
  readonly config: Config;
  readonly ledger: LedgerPort;
  readonly pages: Pages;
  readonly authorizationServer: AuthorizationServer;
  readonly decide: Decide;
  readonly sessions: SessionSettings;
}

/** `GET /oauth/approve/:uid`: asks the person whether the command line may act for them; signs them in first. */
export function askApproval(parts: ApprovalParts): RequestHandler {
  return async (req, res) => {
    const pending = await pendingOf(parts, req, res);
    const standing = await standingOf(req, parts.decide, parts.sessions);
    if (standing.kind === "anonymous") {
      res.redirect(303, signInFirst(pending));
      return;
    }
    allowFormRedirect(req, res, pending.redirectUri);
    res.send(parts.pages.approval(approvalPage(parts.config, pending, standing)));
  };
}

/** `POST /oauth/approve/:uid`: the person's answer, and back to the command line with it. A refusal is one event. */
export function answerApproval(parts: ApprovalParts): RequestHandler {
  const { config, decide, sessions } = parts;
  return async (req, res) => {
    const standing = await standingOf(req, decide, sessions);
    if (standing.kind === "anonymous") {
      requireSameOrigin(req, config.baseUrl);
      res.redirect(303, signInFirst(await pendingOf(parts, req, res)));
      return;
    }
    const { identity } = standing;
    try {
      requireSameOrigin(req, config.baseUrl);
      requireNotWithdrawn(standing);
      res.redirect(303, await answer(parts, req, res, identity));
    } catch (error) {
      await recordDenied(parts.ledger, asRefusal(error), identity, req, res);
      throw error;
    }
  };
}

/** Any other refusal may be over by the time of the next credentials; these are somebody's decision. */
function requireNotWithdrawn(standing: Standing): void {
  if (standing.kind !== "refused") return;
  const { code } = standing.refusal;
  if (code === "person_revoked" || code === "name_moved") throw standing.refusal;
}

/** The address to send the browser to. */
async function answer(parts: ApprovalParts, req: Request, res: Response, identity: Identity): Promise<string> {
  const { authorizationServer, ledger } = parts;
  await pendingOf(parts, req, res);
  switch (decisionIn(req)) {
    case "approve":
      return authorizationServer.approve(req, res, identity);
    case "decline": {
      const address = await authorizationServer.decline(req, res);
      await recordDenied(ledger, new Refusal("approval_declined", "declined on the page"), identity, req, res);
      return address;
    }
    default:
      throw new Refusal("request_malformed", "decision must be approve or decline");
  }
}

function decisionIn(req: Request): unknown {
  return (req.body as { decision?: unknown } | undefined)?.decision;
}

/** The approval that this very page is about: an answer must never reach another one of the same browser. */
async function pendingOf(parts: ApprovalParts, req: Request, res: Response): Promise<PendingApproval> {
  const pending = await parts.authorizationServer.pendingApproval(req, res);
  if (pending?.uid !== req.params["uid"] || pending === undefined) {
    throw new Refusal("approval_unknown", "no such approval is pending in this browser");
  }
  return pending;
}

function signInFirst(pending: PendingApproval): string {
  return `/?next=${encodeURIComponent(`/oauth/approve/${pending.uid}`)}`;
}

async function recordDenied(ledger: LedgerPort, refusal: Refusal, identity: Identity, req: Request, res: Response) {
  const facts = { ...callerFacts(callerOf(req, res)), ...personFacts(identity) };
  await recordRefusal(ledger, { type: "credentials.denied", ...facts, outcome: "refused", reason: refusal.code });
}

function approvalPage(
  config: Config,
  pending: PendingApproval,
  standing: Exclude<Standing, { kind: "anonymous" }>,
): ApprovalPage {
  const { identity } = standing;
  return {
    email: identity.email,
    provider: labelOf(config, identity.provider),
    client: pending.clientName,
    target: new URL(pending.redirectUri).host,
    action: `/oauth/approve/${pending.uid}`,
    sessionName: standing.kind === "accepted" ? standing.decision.sessionName : undefined,
    refused: standing.kind === "refused" ? reason(standing.refusal.code) : undefined,
  };
}
