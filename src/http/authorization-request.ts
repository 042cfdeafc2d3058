import type { RequestHandler } from "express";
import { Refusal } from "../flow/errors.ts";

/** Characters. The command line's own request has about 400. */
const LONGEST_REQUEST = 2048;

/**
 * Refuses at `/oauth/auth` what the command line never sends, before any of it is kept. What is asked for lies in the
 * store for ten minutes, whoever sent it, so it must be short. And the code goes back in the query: a form would be
 * posted by a script, a fragment is read by whatever runs in that page.
 */
export const requireModestRequest: RequestHandler = (req, _res, next) => {
  const address = req.originalUrl;
  if (address.length > LONGEST_REQUEST) throw invalid(`longer than ${LONGEST_REQUEST} characters`);
  const modes = new URLSearchParams(address.replace(/^[^?]*/, "")).getAll("response_mode");
  if (modes.some((mode) => mode !== "query")) throw invalid("a response_mode other than query");
  next();
};

function invalid(fault: string): Refusal {
  return new Refusal("authorization_invalid", `the authorization request is refused: ${fault}`);
}
