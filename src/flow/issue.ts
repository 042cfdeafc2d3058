import type { AuditEvent } from "./audit-event.ts";
import { readDemand, type Demand } from "./demand.ts";
import { Refusal, asRefusal } from "./errors.ts";
import type { Exchanges } from "./exchange.ts";
import {
  federationClaims,
  requireSession,
  type SignedFederationToken,
  type SignFederationToken,
} from "./federation-token.ts";
import { freshIdentity, type FreshnessPorts, type FreshnessSettings } from "./freshness.ts";
import { recordedGrantId, type Holder } from "./holder.ts";
import type { Identity } from "./identity.ts";
import { StsRefusal, type AssumeRole, type Caller, type LedgerPort, type StsSession } from "./ports.ts";
import { callerFacts, personFacts, recordRefusal } from "./sign-in.ts";
import { MappingRefusal, type mapTags, type Mapping, type MappedTags, type TraceStep } from "./tags.ts";

/** What the configuration says about issuing. */
export interface IssueSettings extends FreshnessSettings {
  readonly mapping: Mapping;
  readonly federation: "web-identity" | "saml";
  readonly issuer: string;
  readonly audience: string;
  readonly roleArn: string;
  readonly transitiveTags: readonly string[];
  readonly sessionDurationSeconds: number;
}

export interface StsExchange {
  readonly token: SignedFederationToken;
  readonly session: StsSession;
}

/** What the way needs from outside. */
export interface IssuePorts extends FreshnessPorts {
  readonly ledger: LedgerPort;
  /** The rules themselves; a port so that their time can be told. */
  readonly mapTags: typeof mapTags;
  readonly sign: SignFederationToken;
  readonly assumeRole: AssumeRole;
  readonly exchanges: Exchanges<StsExchange>;
  /** Rejects with a Refusal where the grant, or the sign-in at its provider, has ended since the request came. */
  readonly requireLive: (identity: Identity, grantId: string) => Promise<void>;
}

export interface IssueRequest {
  readonly identity: Identity;
  /** Callers of one grant at one moment share one STS call. */
  readonly grantId: string;
  readonly caller: Caller;
  /** All that the caller sent, to be read by {@link readDemand}. */
  readonly demand: Demand;
}

export interface IssuedCredentials {
  readonly credentials: StsSession["credentials"];
  readonly sessionArn: string;
  readonly tags: Readonly<Record<string, string>>;
  readonly ledgerSeq: number;
}

/**
 * The whole way from an Identity to credentials, in order: a duration no longer than allowed, claims that are
 * fresh (the provider is asked again where they are not), tags by the rules, the name that is bound to this person; then `credentials.requested` durable, a federation token signed,
 * STS asked, its answer checked, everything still as it was, `credentials.issued` durable, and only then released
 * (law 1). Both rows are written only while nothing is revoked that the request stands on. Rejects with a
 * Refusal, which the ledger holds as exactly one event with all facts known by then (law 5).
 */
export async function issueCredentials(
  ports: IssuePorts,
  settings: IssueSettings,
  request: IssueRequest,
): Promise<IssuedCredentials> {
  const facts: Facts = requestFacts(settings, request);
  const holder = holderOf(request.identity, request.grantId);
  let type: "credentials.denied" | "credentials.failed" = "credentials.denied";
  let leave: (() => void) | undefined;
  try {
    const durationSeconds = readDemand(request.demand, settings);
    facts.durationSeconds = durationSeconds;
    const identity = await freshIdentity(ports, settings, request.identity);
    facts.claims = identity.claims;
    const { tags, trace, sessionName } = await attribute(ports, settings.mapping, identity, holder);
    Object.assign(facts, { tags, trace, sessionName });

    const key = JSON.stringify([request.grantId, sessionName, tags, durationSeconds]);
    const exchange = ports.exchanges.join(key, (tokenId) =>
      callSts(ports, settings, { tokenId, sessionName, tags, durationSeconds }),
    );
    leave = exchange.leave;
    facts.tokenId = exchange.tokenId;
    await ports.ledger.append({ type: "credentials.requested", ...facts }, holder);
    type = "credentials.failed";

    const { token, session } = await exchange.run();
    Object.assign(facts, sessionFacts(token, session));
    requireSession(session, settings.roleArn, sessionName);
    await ports.requireLive(identity, request.grantId);

    const { seq } = await ports.ledger.append({ type: "credentials.issued", ...facts, outcome: "success" }, holder);
    return { credentials: session.credentials, sessionArn: session.sessionArn, tags, ledgerSeq: seq };
  } catch (error) {
    const refusal = asRefusal(error);
    if (error instanceof MappingRefusal) facts.trace = error.trace;
    if (error instanceof StsRefusal && error.stsRequestId !== undefined) facts.stsRequestId = error.stsRequestId;
    const outcome = type === "credentials.denied" ? "refused" : "failed";
    await recordRefusal(ports.ledger, { type, ...facts, outcome, reason: refusal.code });
    throw refusal;
  } finally {
    leave?.();
  }
}

/**
 * What the person would be given now, without asking for it: the tags, why, and the session name. Same refusals.
 * `grantId`: of the command line that asks; left out: a browser.
 */
export async function decide(
  ports: FreshnessPorts & Pick<IssuePorts, "ledger" | "mapTags">,
  settings: IssueSettings,
  identity: Identity,
  grantId?: string,
): Promise<MappedTags & { sessionName: string }> {
  const fresh = await freshIdentity(ports, settings, identity);
  return attribute(ports, settings.mapping, fresh, holderOf(identity, grantId));
}

function holderOf(identity: Identity, grantId: string | undefined): Holder {
  return { ...identity, ...(grantId !== undefined && { grantId: recordedGrantId(grantId) }) };
}

/** As what and under which name a person is billed. */
async function attribute(
  { ledger, mapTags: apply }: Pick<IssuePorts, "ledger" | "mapTags">,
  mapping: Mapping,
  identity: Identity,
  holder: Holder,
): Promise<MappedTags & { sessionName: string }> {
  const mapped = apply(mapping, identity);
  // From the ledger's database at every issue: a session store that was tampered with can't name anybody (law 3).
  const sessionName = await ledger.sessionNameOf(holder);
  if (sessionName === undefined) throw new Refusal("name_unbound", "the ledger has no session name for this person");
  return { ...mapped, sessionName };
}

async function callSts(
  ports: IssuePorts,
  settings: IssueSettings,
  of: { tokenId: string; sessionName: string; tags: Readonly<Record<string, string>>; durationSeconds: number },
): Promise<StsExchange> {
  const { tokenId, sessionName, tags, durationSeconds } = of;
  const claims = federationClaims({ ...settings, tokenId, sessionName, tags, now: ports.now() });
  const token = await ports.sign(claims, durationSeconds);
  const { roleArn } = settings;
  const session = await ports.assumeRole({ roleArn, sessionName, token: token.text, durationSeconds });
  return { token, session };
}

type Facts = { -readonly [K in Exclude<keyof AuditEvent, "type">]?: AuditEvent[K] } & { trace?: readonly TraceStep[] };

function requestFacts(settings: IssueSettings, { identity, grantId, caller }: IssueRequest): Facts {
  const { signIn } = identity;
  return {
    ...callerFacts(caller),
    ...personFacts(identity),
    ...(signIn && { signInId: signIn.id }),
    grantId: recordedGrantId(grantId),
    claims: identity.claims,
    mappingVersion: settings.mapping.version,
    roleArn: settings.roleArn,
    federation: settings.federation,
  };
}

function sessionFacts(token: SignedFederationToken, session: StsSession): Facts {
  const { packedPolicySize, requestId } = session;
  return {
    tokenSha256: token.sha256,
    keyId: token.keyId,
    sessionArn: session.sessionArn,
    accessKeyId: session.credentials.accessKeyId,
    expiration: session.credentials.expiration.toISOString(),
    ...(packedPolicySize !== undefined && { packedPolicySize }),
    ...(requestId !== undefined && { stsRequestId: requestId }),
  };
}
