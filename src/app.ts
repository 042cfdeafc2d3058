import type { RequestListener } from "node:http";
import type { Request, Response } from "express";
import { samlAudience } from "./aws/saml-response.ts";
import { stsClient, type SamlTrust } from "./aws/sts.ts";
import { VERSION } from "./cli/version.ts";
import type { Config } from "./config/config.ts";
import { Refusal } from "./flow/errors.ts";
import { Exchanges } from "./flow/exchange.ts";
import { recordRefusedToken, recordReuse, recordRevocation } from "./flow/grant-record.ts";
import { recordedGrantId } from "./flow/holder.ts";
import { decide, issueCredentials, type IssuePorts, type IssueSettings } from "./flow/issue.ts";
import type { Identity } from "./flow/identity.ts";
import type { Caller, Log } from "./flow/ports.ts";
import { rateLimits } from "./flow/rate-limit.ts";
import { claimsRead, mapTags, type Mapping } from "./flow/tags.ts";
import { callerOf } from "./http/guard.ts";
import { loadPages } from "./http/pages.ts";
import { refusalPage } from "./http/refusals.ts";
import { createServer } from "./http/server.ts";
import { loginStates } from "./idp/login-state.ts";
import { oidcClient, type OidcClient } from "./idp/oidc.ts";
import { ProviderGrants } from "./idp/provider-grants.ts";
import { claimsRefresher, type Connection } from "./idp/refresh.ts";
import { SamlSessions } from "./idp/saml/saml-sessions.ts";
import { OidcStrategy } from "./idp/strategy.ts";
import { checkpointKeyOf } from "./keys/checkpoint-key.ts";
import { openKeys, readKeys } from "./keys/key-file.ts";
import type { Keys } from "./keys/key-format.ts";
import { openLedger } from "./ledger/ledger.ts";
import { configuredPlace } from "./ledger/place.ts";
import { Federation } from "./federation.ts";
import { Listener } from "./listener.ts";
import { Metrics } from "./metrics/metrics.ts";
import {
  observedIssue,
  observedLedger,
  observedMapping,
  observedRefresh,
  observedSigner,
  observedStore,
  observedSts,
} from "./metrics/observed.ts";
import { Steps } from "./metrics/steps.ts";
import { NO_TRACES, type Traces } from "./metrics/traces.ts";
import { createAuthorizationServer } from "./oauth/authorization-server.ts";
import type { TokenRequest } from "./oauth/grants.ts";
import { KeysInForce } from "./keys-in-force.ts";
import { configChanged, ConfigInForce, type ReloadOutcome } from "./config-in-force.ts";
import { Opened } from "./opened.ts";
import { SamlFederation } from "./saml-federation.ts";
import { samlProviders } from "./saml-providers.ts";
import { memoryStore } from "./store/memory.ts";
import { redisStore } from "./store/redis.ts";
import { sealed } from "./store/sealed.ts";

/** As long as an issue may take (milliseconds): the identity provider, ledger, STS with its retries, ledger. */
const CLOSING_PATIENCE = 30_000;

export interface Broker {
  /** Where it listens: the port of `listen`, or the one given where that is 0. */
  readonly port: number;
  /** Puts the tags and access of what `load` returns in force, as {@link ConfigInForce.reload} does. */
  reload(load: () => Config): Promise<ReloadOutcome>;
  /** Reads keys.json again, as {@link KeysInForce.reload} does. */
  reloadKeys(): Promise<void>;
  /** `/readyz` says 503 from now on, and every answer ends its connection; whoever comes is still served. */
  retire(): void;
  /** Takes no new requests, finishes those under way, within 30 seconds, then closes what they used. */
  close(): Promise<void>;
}

/**
 * A running broker: the one place where the parts are joined. Rejects where the state directory, the ledger or the
 * address can't be had, and leaves nothing open then. An identity provider, STS or Redis that is down doesn't stop the
 * start: what needs it is refused until it is back. `now`: epoch milliseconds.
 */
export async function startBroker(
  config: Config,
  log: Log,
  now: () => number = Date.now,
  traces: Traces = NO_TRACES,
): Promise<Broker> {
  const opened = new Opened();
  const listener = new Listener();
  try {
    const { port, reload, reloadKeys } = await joinParts(opened, listener, { config, log, now, traces });
    const retire = (): void => {
      listener.retire();
    };
    return { port, reload, reloadKeys, retire, close: () => opened.close() };
  } catch (error) {
    // What stays open would keep the process alive, deaf to its supervisor.
    await opened.close();
    throw error;
  }
}

/** Everything joined and listening. */
async function joinParts(
  opened: Opened,
  listener: Listener,
  { config, log, now, traces }: { config: Config; log: Log; now: () => number; traces: Traces },
): Promise<Pick<Broker, "port" | "reload" | "reloadKeys">> {
  const { aws, baseUrl, stateDir } = config;
  // C2SP tlog-checkpoint: the log's origin is a URL without its scheme.
  const origin = `${new URL(baseUrl).host}/ledger`;
  const trust = samlTrust(config);
  const { signingAlgorithm } = aws;
  const file = await openKeys(stateDir, { signingAlgorithm, origin, saml: trust !== undefined, now });
  const checkpointKey = checkpointKeyOf(file, config);
  const record = await openLedger({ ...configuredPlace(config), checkpointKey, log, now });
  opened.add(() => record.close());
  // Before anything is signed with them: no record, no change.
  const load = (): ReturnType<typeof readKeys> => readKeys(stateDir, now());
  const keysInForce = await KeysInForce.start({ file, load, ledger: record, log, now });
  opened.add(() => keysInForce.close());
  const keys = (): Keys => keysInForce.keys;
  const redis = config.redisUrl === undefined ? undefined : redisStore(config.redisUrl, log);
  if (redis) opened.add(() => redis.close());
  const bareStore = redis ?? memoryStore(now);
  const inForce = new ConfigInForce(config);
  // Asked once an issue, so that each ends with the rules that it began with.
  const fixed = fixedSettings(config);
  const settings = (): IssueSettings => ({ ...fixed, mapping: inForce.mapping });
  const metrics = new Metrics({
    version: VERSION,
    ledger: record,
    store: bareStore,
    keys: () => keysInForce.standing,
    keysInForce: () => keysInForce.upToDate,
    mappingVersion: () => inForce.mapping.version,
    configInForce: () => inForce.upToDate,
    now,
  });
  const steps = new Steps(metrics, traces);
  const ledger = observedLedger(record, steps);
  const store = sealed(observedStore(bareStore, steps), () => keys().sealingKeys, log);
  const limits = rateLimits(store, config.rateLimits, (limit) => {
    metrics.rateLimited(limit);
  });

  const connections = oidcConnections(config, () => inForce.mapping, steps, now);
  const grants = new ProviderGrants(store, { signInMaxAgeSeconds: config.signInMaxAgeSeconds, now });
  const onRevoked = (identity: Identity): Promise<void> => recordRevocation(ledger, identity);
  const refreshClaims = observedRefresh(claimsRefresher({ connections, grants, onRevoked, now }), steps);
  const states = loginStates(store, now);
  const paths = (id: string): Iterable<string> => claimsRead(inForce.mapping, id);
  const samlSessions = new SamlSessions(store, { signInMaxAgeSeconds: config.signInMaxAgeSeconds, now });
  const saml = await samlProviders(config, { loginStates: states, sessions: samlSessions, paths, now });

  const federation = new Federation(keys, { ...aws, issuer: fixed.issuer, now });
  opened.add(() => federation.close());
  const samlFederation = trust && new SamlFederation(keys, trust);
  const sts = stsClient({ region: aws.region, endpoint: aws.stsEndpoint, saml: trust, log, now });
  opened.add(sts.close);
  const authorizationServer = createAuthorizationServer({
    issuer: `${baseUrl}/oauth`,
    store,
    keys,
    signInMaxAgeSeconds: config.signInMaxAgeSeconds,
    onGrantReused: (grant, request) => recordReuse(ledger, grant, request && callerIn(request)),
    onTokenRefused: (grant, request, reason) => recordRefusedToken(ledger, grant, callerIn(request), reason),
    requireMayGoOn: async ({ identity, grantId }) => {
      await ledger.sessionNameOf({ ...identity, grantId: recordedGrantId(grantId) });
    },
    limitAccount: (account) => limits.account("token", account),
    onAccountLimited: (grant, request, reason) => recordRefusedToken(ledger, grant, callerIn(request), reason),
    errorPage: refusalPage(loadPages()),
    log,
  });
  const ports: IssuePorts = {
    now,
    ledger,
    refreshClaims,
    mapTags: observedMapping(mapTags, steps),
    sign: observedSigner((...session) => (samlFederation ?? federation).sign(...session), steps),
    assumeRole: observedSts(sts.assumeRole, steps),
    exchanges: new Exchanges(),
    async requireLive(identity, grantId) {
      await grants.requireNotEnded(identity);
      if (!(await authorizationServer.isLive(grantId))) throw new Refusal("token_invalid", "the grant has ended");
    },
  };
  const app = createServer({
    config,
    store,
    ledger: { ...ledger, state: () => record.state() },
    strategies: [
      ...connections.map((it) => new OidcStrategy({ ...it, loginStates: states, grants, now })),
      ...saml.map(({ strategy }) => strategy),
    ],
    saml: new Map(saml.map(({ id, ports }) => [id, ports])),
    hasEnded: (identity) => samlSessions.hasEnded(identity),
    authorizationServer,
    decide: (identity, grantId) => decide(ports, settings(), identity, grantId),
    issue: observedIssue((request) => issueCredentials(ports, settings(), request), steps),
    documents: () => federation.documents,
    samlMetadata: samlFederation && (() => samlFederation.metadata),
    isStopping: () => listener.retired,
    cookieKeys: () => keys().cookieKeys,
    limits,
    metrics,
    traces,
    log,
    now,
  });
  // Before anybody is served by these rules: no record, no change.
  await ledger.append(configChanged(config, "start"));
  // Express is a request listener, as Node's types have it, though its own say "any".
  const port = await listener.listen(config.listen, app as RequestListener);
  opened.add(() => listener.close(CLOSING_PATIENCE));
  return {
    port,
    reload: (load) => inForce.reload(load, { ledger, log }),
    reloadKeys: () => keysInForce.reload(),
  };
}

/** Express's own objects, since that is where the authorization server is mounted. */
function callerIn({ req, res }: TokenRequest): Caller {
  return callerOf(req as Request, res as Response);
}

/** Undefined: AWS trusts the broker as an OIDC provider. */
function samlTrust({ aws: { federation, samlProviderArn, region }, baseUrl }: Config): SamlTrust | undefined {
  if (federation !== "saml" || samlProviderArn === undefined) return undefined;
  return { samlProviderArn, issuer: `${baseUrl}/federation`, audience: samlAudience(region) };
}

/** What only a restart changes. */
function fixedSettings({ aws, providers, baseUrl, signInMaxAgeSeconds }: Config): Omit<IssueSettings, "mapping"> {
  return {
    federation: aws.federation,
    issuer: `${baseUrl}/federation`,
    audience: aws.federation === "saml" ? samlAudience(aws.region) : aws.audience,
    roleArn: aws.roleArn,
    transitiveTags: aws.transitiveTags,
    sessionDurationSeconds: aws.sessionDurationSeconds,
    signInMaxAgeSeconds,
    claimsMaxAgeSeconds: Object.fromEntries(providers.map(({ id, claimsMaxAgeSeconds }) => [id, claimsMaxAgeSeconds])),
  };
}

/** Each OIDC provider with a client of it, for sign-ins and for asking it again. */
function oidcConnections(
  config: Config,
  mapping: () => Mapping,
  steps: Steps,
  now: () => number,
): (Connection & { client: OidcClient })[] {
  const { baseUrl, environment } = config;
  const providers = config.providers.filter((provider) => provider.protocol === "oidc");
  return providers.map((provider) => {
    const redirectUri = `${baseUrl}/login/${provider.id}/callback`;
    const client = oidcClient(provider, { redirectUri, allowLoopbackHttp: environment === "development", now });
    return {
      provider,
      client: observedClient(client, provider.id, steps),
      paths: () => claimsRead(mapping(), provider.id),
    };
  });
}

/** What people wait for at the provider; a refresh is part of a step of its own. */
function observedClient(client: OidcClient, provider: string, steps: Steps): OidcClient {
  return {
    begin: () => steps.timed("idp_begin", () => client.begin(), { provider }),
    finish: (...answer) => steps.timed("idp_finish", () => client.finish(...answer), { provider }),
    refresh: (...question) => client.refresh(...question),
  };
}
