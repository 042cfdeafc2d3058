import type { ReasonCode } from "../flow/errors.ts";

export interface StsError {
  /** The `Code` of the answer, as it is on the wire (not the SDK's class name). */
  readonly wireCode: string;
  readonly status: number;
  readonly reason: ReasonCode;
  /** Whether the same token may be sent again. */
  readonly retry: boolean;
}

/**
 * What STS answers to AssumeRoleWithWebIdentity and AssumeRoleWithSAML when it says no (AWS STS API reference, "Errors" and "Common errors").
 * An expired token is not sent again: it was minted a moment ago, so that a clock is wrong. AccessDenied is not
 * retried either, though a new role or provider causes it for some ten seconds: the caller's sentence says so.
 */
export const STS_ERRORS: readonly StsError[] = [
  { wireCode: "ExpiredTokenException", status: 400, reason: "sts_expired_token", retry: false },
  { wireCode: "InvalidIdentityToken", status: 400, reason: "sts_invalid_token", retry: false },
  { wireCode: "IDPRejectedClaim", status: 403, reason: "sts_rejected_claim", retry: false },
  { wireCode: "IDPCommunicationError", status: 400, reason: "sts_idp_unreachable", retry: true },
  { wireCode: "PackedPolicyTooLarge", status: 400, reason: "sts_packed_policy_too_large", retry: false },
  { wireCode: "MalformedPolicyDocument", status: 400, reason: "sts_malformed_policy", retry: false },
  { wireCode: "RegionDisabledException", status: 403, reason: "sts_region_disabled", retry: false },
  { wireCode: "AccessDenied", status: 403, reason: "sts_access_denied", retry: false },
  { wireCode: "ValidationError", status: 400, reason: "sts_validation", retry: false },
  { wireCode: "Throttling", status: 400, reason: "sts_throttled", retry: true },
  { wireCode: "InternalFailure", status: 500, reason: "sts_internal", retry: true },
  { wireCode: "ServiceUnavailable", status: 503, reason: "sts_internal", retry: true },
];

/** The row of a wire code; for one that is not in the table: STS failed, to be tried again where the status is 5xx. */
export function stsError(wireCode: string, status: number): StsError {
  const known = STS_ERRORS.find((row) => row.wireCode === wireCode);
  return known ?? { wireCode, status, reason: "sts_internal", retry: status >= 500 };
}
