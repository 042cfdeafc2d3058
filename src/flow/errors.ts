/**
 * Every way in which Rolecall says no, in one table: the stable code that stands in the ledger, the API's
 * `code` and docs/reasons.md; the HTTP status; one plain sentence for the person; and what to do about it.
 */

interface Reason {
  /** HTTP status of the answer (RFC 9110). */
  readonly status: number;
  /** One plain sentence for the person who is refused. */
  readonly sentence: string;
  /** What that person, or whoever they ask, can do. */
  readonly remedy: string;
}

const AGAIN = "Sign in again.";
const ASK_ADMIN = "Ask the people who run Rolecall, and give them the request ID.";
const LATER = "Try again in a minute; if it stays so, tell the people who run Rolecall.";
const ASK_DIRECTORY = "Ask the people who run your company's directory to correct it, then sign in again.";

export const REASONS = {
  // Sign-in: the round trip to the identity provider.
  login_state_unknown: {
    status: 400,
    sentence: "This sign-in has ended: it was finished already, or took more than ten minutes.",
    remedy: "Start again from the first page.",
  },
  login_other_browser: {
    status: 400,
    sentence: "This sign-in was begun in another browser.",
    remedy: "Start again in this browser, and keep cookies on.",
  },
  idp_unreachable: {
    status: 502,
    sentence: "Your company's sign-in service did not answer.",
    remedy: LATER,
  },
  idp_client_rejected: {
    status: 502,
    sentence: "Your company's sign-in service does not accept Rolecall's own client credentials.",
    remedy: "Ask the people who run Rolecall to check the provider's clientId, clientSecret and clientAuth.",
  },
  idp_denied: {
    status: 403,
    sentence: "Your company's sign-in service did not let you in, or you cancelled.",
    remedy: "Start again; if it stays so, ask whether you are assigned to the Rolecall application.",
  },
  idp_response_invalid: {
    status: 502,
    sentence: "The answer of your company's sign-in service could not be trusted.",
    remedy: ASK_ADMIN,
  },
  issuer_mismatch: {
    status: 400,
    sentence: "The answer came from another sign-in service than the one that was asked.",
    remedy: "Start again from the first page; if it stays so, tell your security team.",
  },

  // Sign-in by SAML.
  saml_malformed: {
    status: 400,
    sentence: "The answer of your company's sign-in service is not built as SAML demands.",
    remedy: "Start again from the first page; if it stays so, give the people who run Rolecall the request ID.",
  },
  saml_signature_invalid: {
    status: 400,
    sentence: "The signature of your company's sign-in service does not hold, or is missing.",
    remedy: "Start again from the first page; if it stays so, tell your security team.",
  },
  saml_unsolicited: {
    status: 400,
    sentence: "A sign-in came that was not asked for here.",
    remedy: "Begin at Rolecall's own first page, not at your company's list of applications.",
  },
  saml_not_for_us: {
    status: 400,
    sentence: "The answer of your company's sign-in service was meant for somebody else.",
    remedy: "Ask the people who run Rolecall to compare audience and recipient with Rolecall's metadata.",
  },
  saml_expired: {
    status: 400,
    sentence: "The answer of your company's sign-in service is not valid at this time.",
    remedy: "Start again; if it stays so, ask the people who run Rolecall to compare the two clocks.",
  },
  saml_replayed: {
    status: 400,
    sentence: "This answer of your company's sign-in service was used already.",
    remedy: "Start again from the first page. If you did not use it, tell your security team.",
  },
  saml_in_query: {
    status: 400,
    sentence: "A SAML message came in the address, where none is taken.",
    remedy: "Start again from the first page.",
  },
  idp_metadata_invalid: {
    status: 502,
    sentence: "What your company's sign-in service publishes about itself could not be trusted.",
    remedy: "Ask the people who run Rolecall to check the provider's metadata and certificates.",
  },
  attribute_ambiguous: {
    status: 403,
    sentence: "Your company's sign-in service sent one attribute twice, or under a name that has another meaning.",
    remedy: ASK_ADMIN,
  },

  // Sign-in: what the identity provider says of the person.
  subject_missing: {
    status: 403,
    sentence: "Your company's sign-in service did not say who you are.",
    remedy: ASK_ADMIN,
  },
  email_missing: {
    status: 403,
    sentence: "Your company's sign-in service did not send your email address.",
    remedy: ASK_DIRECTORY,
  },
  email_malformed: {
    status: 403,
    sentence: "What your company's sign-in service sent as your email address is none.",
    remedy: ASK_DIRECTORY,
  },
  email_unverified: {
    status: 403,
    sentence: "Your email address has not been verified.",
    remedy: "Verify your email address with your company's sign-in service, then sign in again.",
  },
  email_domain: {
    status: 403,
    sentence: "This sign-in service may not speak for your email's domain.",
    remedy: "Sign in by the service of the company that your email address belongs to.",
  },
  guest_refused: {
    status: 403,
    sentence: "Guest accounts get no credentials here.",
    remedy: "Sign in with an account of this company's own.",
  },
  tenant_mismatch: {
    status: 403,
    sentence: "Your account belongs to another directory or organization than the one expected.",
    remedy: "Sign in with an account of this company's own.",
  },
  groups_overage: {
    status: 403,
    sentence: "You are in so many groups that your company's sign-in service left the list out.",
    remedy: "Ask the people who run your directory to send fewer groups, or app roles, to Rolecall.",
  },
  claim_too_large: {
    status: 403,
    sentence: "Your company's sign-in service sent more about you than Rolecall takes.",
    remedy: "Ask the people who run your directory to send Rolecall only the groups and attributes that it reads.",
  },
  email_taken: {
    status: 403,
    sentence: "Your email address already stands for another account here.",
    remedy: "Ask the people who run Rolecall to say whether it is the same person: they can rebind the name.",
  },
  name_moved: {
    status: 403,
    sentence: "Your session name has moved to another account.",
    remedy: "Sign in with that account; if you have no other, tell the people who run Rolecall.",
  },
  person_revoked: {
    status: 403,
    sentence: "Your access has been withdrawn by the people who run Rolecall.",
    remedy: "Ask them, and give them the request ID.",
  },

  // Claims to tags.
  claim_type: {
    status: 403,
    sentence: "A directory attribute that decides your tags is not text.",
    remedy: ASK_DIRECTORY,
  },
  claim_not_kept: {
    status: 403,
    sentence: "The rules have changed since you signed in and read something that was not asked for then.",
    remedy: AGAIN,
  },
  tag_missing: {
    status: 403,
    sentence: "Your directory entry does not say what a required tag needs.",
    remedy: ASK_DIRECTORY,
  },
  tag_ambiguous: {
    status: 403,
    sentence: "Your directory entry gives one tag two different values.",
    remedy: ASK_DIRECTORY,
  },
  tag_unmatched: {
    status: 403,
    sentence: "Your directory entry has a value that no rule knows.",
    remedy: ASK_DIRECTORY,
  },
  tag_not_allowed: {
    status: 403,
    sentence: "Your directory entry gives a tag a value that is not on the allowed list.",
    remedy: ASK_DIRECTORY,
  },
  tag_characters: {
    status: 403,
    sentence: "Your directory entry gives a tag a value with characters that AWS refuses.",
    remedy: ASK_DIRECTORY,
  },
  tags_too_large: {
    status: 403,
    sentence: "Your tags are too long together for AWS.",
    remedy: ASK_ADMIN,
  },

  // Freshness.
  sign_in_expired: {
    status: 401,
    sentence: "Your sign-in is too old.",
    remedy: AGAIN,
  },
  claims_expired: {
    status: 401,
    sentence: "What your company said of you when you signed in is too old to rely on.",
    remedy: AGAIN,
  },
  sign_in_revoked: {
    status: 401,
    sentence: "Your company's sign-in service has ended your sign-in.",
    remedy: "Sign in again; if you are not let in, ask the people who run your company's directory.",
  },
  session_revoked: {
    status: 401,
    sentence: "Your sign-in has been ended by the people who run Rolecall.",
    remedy: AGAIN,
  },
  identity_changed: {
    status: 401,
    sentence: "Your company's sign-in service now says something else of who you are than when you signed in.",
    remedy: AGAIN,
  },
  refresh_under_way: {
    status: 503,
    sentence: "Your company's sign-in service is being asked about you just now.",
    remedy: LATER,
  },
  name_unbound: {
    status: 401,
    sentence: "No session name is recorded for you.",
    remedy: AGAIN,
  },

  // Requests.
  request_malformed: {
    status: 400,
    sentence: "The request could not be read.",
    remedy: "Send a JSON object as the API's documentation shows.",
  },
  request_not_allowed: {
    status: 400,
    sentence: "The request names something that is not the caller's to choose.",
    remedy: "Send only durationSeconds: role, tags and session name come from your sign-in.",
  },
  duration_out_of_range: {
    status: 400,
    sentence: "The duration asked for is outside what is allowed.",
    remedy: "Ask for 900 seconds at least and no more than the configured session duration, or leave it out.",
  },
  token_invalid: {
    status: 401,
    sentence: "The access token is missing, expired or revoked.",
    remedy: "Run: rolecall login",
  },
  grant_reused: {
    status: 400,
    sentence: "A sign-in token was used twice, so that sign-in has been ended everywhere.",
    remedy: "Run: rolecall login. If you did not do this yourself, tell your security team.",
  },
  token_request_invalid: {
    status: 400,
    sentence: "The request for a token did not fit the sign-in that it named.",
    remedy: "Run: rolecall login. If you did not do this yourself, tell your security team.",
  },
  scope_missing: {
    status: 403,
    sentence: "The access token was not asked for to get credentials.",
    remedy: "Run: rolecall login",
  },
  cross_site_request: {
    status: 403,
    sentence: "The request came from another site.",
    remedy: "Open Rolecall's own page and do it there.",
  },
  not_found: {
    status: 404,
    sentence: "There is nothing at this address.",
    remedy: "Start from the first page.",
  },
  approval_unknown: {
    status: 400,
    sentence: "This request of the command line has ended: it was answered already, or took too long.",
    remedy: "Run rolecall login again.",
  },
  authorization_invalid: {
    status: 400,
    sentence: "The request for access, which the command line sent you here with, is not valid.",
    remedy: "Bring the rolecall command line up to date, and run rolecall login again.",
  },
  approval_declined: {
    status: 403,
    sentence: "You declined to give the command line access.",
    remedy: "Run rolecall login again if that was a mistake.",
  },

  // Federation token and STS (AWS STS API reference, AssumeRoleWithWebIdentity, "Errors").
  signing_unavailable: {
    status: 503,
    sentence: "The key that Rolecall signs with could not be used just now.",
    remedy: LATER,
  },
  federation_token_invalid: {
    status: 500,
    sentence: "Rolecall's own token failed its check before it was sent to AWS.",
    remedy: ASK_ADMIN,
  },
  sts_expired_token: {
    status: 502,
    sentence: "AWS says that Rolecall's token has expired.",
    remedy: "Ask the people who run Rolecall to check the clock of its machine.",
  },
  sts_invalid_token: {
    status: 502,
    sentence: "AWS does not accept Rolecall's token.",
    remedy:
      "Ask the people who run Rolecall to check the identity provider in IAM: its URL, audience and keys, or its SAML metadata.",
  },
  sts_rejected_claim: {
    status: 502,
    sentence: "AWS says that the identity provider rejected the claim.",
    remedy: ASK_ADMIN,
  },
  sts_idp_unreachable: {
    status: 502,
    sentence: "AWS could not reach Rolecall's published keys.",
    remedy: "Ask the people who run Rolecall to check that the federation issuer can be reached from the Internet.",
  },
  sts_packed_policy_too_large: {
    status: 502,
    sentence: "AWS says that the tags are too large together.",
    remedy: "Ask the people who run Rolecall to shorten tag keys and values.",
  },
  sts_malformed_policy: {
    status: 502,
    sentence: "AWS says that the session policy is malformed.",
    remedy: ASK_ADMIN,
  },
  sts_region_disabled: {
    status: 502,
    sentence: "AWS STS is not turned on in the configured region.",
    remedy: "Ask the people who run Rolecall to turn STS on in aws.region, or to choose another.",
  },
  sts_access_denied: {
    status: 502,
    sentence: "AWS does not let Rolecall assume the shared role for you.",
    remedy:
      "Ask the people who run Rolecall to check the role's trust policy; a new role or provider needs about ten seconds.",
  },
  sts_validation: {
    status: 502,
    sentence: "AWS says that the request is not valid, most often a duration above the role's maximum.",
    remedy: "Ask the people who run Rolecall to compare aws.sessionDuration with the role's maximum session duration.",
  },
  sts_throttled: { status: 503, sentence: "AWS is limiting how fast sessions may begin.", remedy: LATER },
  sts_internal: { status: 502, sentence: "AWS STS failed.", remedy: LATER },
  sts_unreachable: { status: 502, sentence: "AWS STS did not answer in time.", remedy: LATER },
  sts_response_invalid: {
    status: 502,
    sentence: "What AWS answered is not the session that was asked for.",
    remedy: ASK_ADMIN,
  },

  // Floods.
  rate_limited: {
    status: 429,
    sentence: "Too many requests came at once, from your address or for you.",
    remedy: LATER,
  },

  // The broker's own parts.
  ledger_unavailable: {
    status: 503,
    sentence: "The record could not be written, and without a record there are no credentials.",
    remedy: LATER,
  },
  store_unavailable: { status: 503, sentence: "Sign-ins could not be read or kept just now.", remedy: LATER },
  config_invalid: {
    status: 500,
    sentence: "A changed configuration has faults and was not taken; what was in force before stays so.",
    remedy: "Correct what the broker's log and `rolecall-broker check` name.",
  },
  outcome_unknown: {
    status: 500,
    sentence: "The broker stopped before the outcome of this request was recorded; nothing was handed out.",
    remedy: "Ask for credentials again.",
  },
  internal_error: { status: 500, sentence: "Something went wrong inside Rolecall.", remedy: ASK_ADMIN },
} as const satisfies Record<string, Reason>;

export type ReasonCode = keyof typeof REASONS;

/** The public face of a code: status, sentence and remedy; never a value of the request. */
export function reason(code: ReasonCode): Reason {
  return REASONS[code];
}

/**
 * A refusal with its stable code. `message` is for operators (log, ledger's reader, `explain`): it names fields,
 * rules and limits, never a secret, a token or a claim's value. People see the sentence of {@link REASONS}.
 */
export class Refusal extends Error {
  override readonly name = "Refusal";
  readonly code: ReasonCode;

  constructor(code: ReasonCode, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.code = code;
  }
}

/** The refusal that `error` is, or `internal_error` around anything that nobody expected. */
export function asRefusal(error: unknown): Refusal {
  if (error instanceof Refusal) return error;
  return new Refusal("internal_error", "unexpected error", { cause: error });
}
