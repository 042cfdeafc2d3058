import type { IncomingMessage, ServerResponse } from "node:http";
import type { Identity } from "../flow/identity.ts";

/** What an access token stands for: a grant with an Identity of its own, which outlives the browser's session. */
export interface Grant {
  readonly grantId: string;
  readonly clientId: string;
  readonly identity: Identity;
  /** The token was asked for with the scope `credentials`. */
  readonly mayIssue: boolean;
}

/** A request of the command line that waits for the person's yes. */
export interface PendingApproval {
  readonly uid: string;
  readonly clientName: string;
  /** Where the answer will go: loopback, on this person's own machine. */
  readonly redirectUri: string;
}

/** The OAuth 2.0 authorization server at `BASE/oauth`, as the pages and the API see it. */
export interface AuthorizationServer {
  /** Serves everything below `/oauth` (`req.url` without that prefix, `req.originalUrl` with it). */
  readonly handle: (req: IncomingMessage, res: ServerResponse) => void;
  /** The approval that this browser was sent to `/oauth/approve/:uid` for; undefined: ended, or another browser's. */
  pendingApproval(req: IncomingMessage, res: ServerResponse): Promise<PendingApproval | undefined>;
  /** Grants `identity` to the client; returns the address to send the browser to. Refusal `approval_unknown`. */
  approve(req: IncomingMessage, res: ServerResponse, identity: Identity): Promise<string>;
  /** Ends the request; returns the address to send the browser to, which tells the client. Refusal `approval_unknown`. */
  decline(req: IncomingMessage, res: ServerResponse): Promise<string>;
  /** The live grant behind an access token; undefined: unknown, expired, or its grant was ended. */
  grantOf(accessToken: string): Promise<Grant | undefined>;
  /** Whether the grant has not ended yet. */
  isLive(grantId: string): Promise<boolean>;
}
