import express, { type Request, type RequestHandler, type Response, type Router } from "express";
import type { Config } from "../config/config.ts";
import type { Demand } from "../flow/demand.ts";
import { Refusal } from "../flow/errors.ts";
import { sessionArnOf } from "../flow/federation-token.ts";
import type { IssuedCredentials, IssueRequest } from "../flow/issue.ts";
import type { LedgerPort, Log } from "../flow/ports.ts";
import { accountOf, RateLimited, type RateLimits } from "../flow/rate-limit.ts";
import { callerFacts, personFacts, recordRefusal } from "../flow/sign-in.ts";
import { openApi, type CredentialsAnswer, type WhoamiAnswer } from "./api-schema.ts";
import type { AuthorizationServer, Grant } from "./authorization-server.ts";
import { callerOf } from "./guard.ts";
import { networkOf } from "./limits.ts";
import { showProblem } from "./problem.ts";
import { notFound } from "./refusals.ts";
import { signInEnds, type Decide } from "./standing.ts";

/** What the API needs from the rest of the broker. */
export interface ApiParts {
  readonly config: Pick<Config, "baseUrl" | "aws" | "providers" | "signInMaxAgeSeconds">;
  readonly authorizationServer: Pick<AuthorizationServer, "grantOf">;
  readonly issue: (request: IssueRequest) => Promise<IssuedCredentials>;
  readonly decide: Decide;
  readonly limits: RateLimits;
  readonly ledger: LedgerPort;
  readonly log: Log;
}

/** Everything below `/api`: for programs, by access token; no cookie counts here, and every refusal is a problem. */
export function apiRouter(parts: ApiParts): Router {
  const { baseUrl } = parts.config;
  const document = openApi(baseUrl);
  const router = express.Router();
  router.get("/api/openapi.json", (_req, res) => {
    res.json(document);
  });
  router.post("/api/v1/credentials", credentials(parts));
  router.get("/api/v1/whoami", whoami(parts));
  router.use("/api", notFound, showProblem(baseUrl, parts.log));
  return router;
}

/** `POST /api/v1/credentials`. What the caller sent goes on whole, so that every fault in it is refused and recorded. */
function credentials(parts: ApiParts): RequestHandler {
  return async (req, res) => {
    const { grantId, clientId, identity, mayIssue } = await grantOf(parts, req, res);
    const sent = await demandOf(req, res);
    const demand = mayIssue ? sent : { ...sent, fault: scopeMissing() };
    const caller = { ...callerOf(req, res), client: clientId };
    const issued = await parts.issue({ identity, grantId, caller, demand });
    res.json({
      Version: 1,
      AccessKeyId: issued.credentials.accessKeyId,
      SecretAccessKey: issued.credentials.secretAccessKey,
      SessionToken: issued.credentials.sessionToken,
      Expiration: instant(issued.credentials.expiration.getTime()),
      sessionArn: issued.sessionArn,
      tags: issued.tags,
      ledgerSeq: issued.ledgerSeq,
    } satisfies CredentialsAnswer);
  };
}

/** `GET /api/v1/whoami`: what would be issued now, and what the bill would say (CUR 2.0's names). */
function whoami(parts: ApiParts): RequestHandler {
  const { aws } = parts.config;
  return async (req, res) => {
    const { grantId, identity, mayIssue } = await grantOf(parts, req, res);
    if (!mayIssue) throw scopeMissing();
    const { tags, trace, sessionName } = await parts.decide(identity, grantId);
    const sessionArn = sessionArnOf(aws.roleArn, sessionName);
    const billed = Object.entries(tags).map(([key, value]) => [`iamPrincipal/${key}`, value]);
    res.json({
      email: identity.email,
      provider: identity.provider,
      signedInAt: instant(identity.signedInAt),
      signInExpires: instant(signInEnds(parts.config, identity)),
      sessionName,
      sessionArn,
      tags,
      trace: trace.map((step) => ({ ...step })),
      billing: { line_item_iam_principal: sessionArn, tags: Object.fromEntries(billed) as Record<string, string> },
    } satisfies WhoamiAnswer);
  };
}

/** RFC 6750, 2.1: the token's alphabet. The header is the one place where a token counts. */
const BEARER = /^bearer ([\w.~+/-]+=*)$/i;

/**
 * Who asks, within the limits. An address is counted only where it shows no live token: a whole company may come from
 * one address, and whoever has a token is counted as a person.
 */
async function grantOf(parts: ApiParts, req: Request, res: Response): Promise<Grant> {
  const token = BEARER.exec(req.get("authorization") ?? "")?.[1];
  const grant = token === undefined ? undefined : await parts.authorizationServer.grantOf(token);
  if (grant === undefined) {
    await parts.limits.address("api", networkOf(req));
    throw new Refusal("token_invalid", "no live grant behind the access token");
  }
  try {
    await parts.limits.account("api", accountOf(grant.identity));
  } catch (error) {
    if (error instanceof RateLimited && error.first) await recordLimited(parts.ledger, error, grant, req, res);
    throw error;
  }
  return grant;
}

function scopeMissing(): Refusal {
  return new Refusal("scope_missing", "the access token lacks the scope credentials");
}

/** Law 5 under a flood: the first refusal of each minute is recorded, the others are counted and logged. */
async function recordLimited(ledger: LedgerPort, refusal: RateLimited, grant: Grant, req: Request, res: Response) {
  const who = { ...callerFacts({ ...callerOf(req, res), client: grant.clientId }), ...personFacts(grant.identity) };
  await recordRefusal(ledger, { type: "credentials.denied", ...who, outcome: "refused", reason: refusal.code });
}

const MOST_BODY_BYTES = 4096;
const readText: RequestHandler = express.text({ type: () => true, limit: MOST_BODY_BYTES, inflate: false });

async function demandOf(req: Request, res: Response): Promise<Demand> {
  const unreadable = await new Promise<unknown>((resolve) => {
    void readText(req, res, resolve);
  });
  const body = typeof req.body === "string" ? req.body : "";
  return {
    body,
    queryNames: queryNamesOf(req.originalUrl),
    headerNames: Object.keys(req.headers),
    fault: bodyFault(req, body, unreadable),
  };
}

/** Of the address as it arrived: in absolute form (RFC 9112, 3.2.2) it need not be one that can be parsed. */
function queryNamesOf(address: string): string[] {
  const query = address.indexOf("?");
  return query < 0 ? [] : [...new URLSearchParams(address.slice(query)).keys()];
}

function bodyFault(req: Request, body: string, unreadable: unknown): Refusal | undefined {
  if (unreadable !== undefined) {
    const rule = `the body must be plain text of ${MOST_BODY_BYTES} bytes at most, whole and not compressed`;
    return new Refusal("request_malformed", rule, { cause: unreadable });
  }
  if (body !== "" && req.is("application/json") === false) {
    return new Refusal("request_malformed", "the body's media type must be application/json");
  }
  return undefined;
}

/** ISO 8601, UTC, whole seconds, as every AWS SDK reads it. */
function instant(milliseconds: number): string {
  return new Date(milliseconds).toISOString().replace(/\.\d{3}Z$/, "Z");
}
