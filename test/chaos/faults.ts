import { STS_ERRORS } from "../../src/aws/sts-errors.ts";
import type { ScriptedFault } from "../../src/sandbox/sts.ts";
import type { Passage } from "../support/tcp-proxy.ts";
import { brokerFrozen, brokerKilled, brokersKilled, killedAt } from "./broker-faults.ts";
import type { FaultKind, Mend } from "./fault.ts";
import { ledgerFaults } from "./ledger-faults.ts";
import type { LedgerKind, LinkName, Site } from "./site.ts";

/** Where a link can be broken at a step: text that a broker or a client sends there. */
const STEPS: Readonly<Record<LinkName, readonly string[]>> = {
  // Keys of docs/store.md: what is read or written just then.
  redis: [
    "rolecall:login:",
    "rolecall:session:",
    "oauth:interaction:",
    ":grant",
    "code:",
    "access-token:",
    "refresh:{",
  ],
  postgres: [
    "start transaction",
    "pg_advisory_xact_lock",
    'from "nodes"',
    '"request_id" in',
    'insert into "rows"',
    'insert into "personal"',
    'from "people"',
    "commit\0",
  ],
  sts: ["AssumeRoleWithWebIdentity"],
  okta: [".well-known/openid-configuration", "/token", "/jwks", "/auth?", "/interaction/"],
  entra: [".well-known/openid-configuration", "/token", "/jwks", "/auth?", "/interaction/"],
  auth0: [".well-known/openid-configuration", "/token", "/jwks", "/auth?", "/interaction/"],
  clients: [
    "GET /login/",
    "/callback?",
    "GET /oauth/auth",
    "/oauth/approve/",
    "/oauth/token",
    "/api/v1/credentials",
    "/federation/jwks",
  ],
};

/** Every kind that a site with this ledger can have, in groups that are drawn from equally often. */
export function faultsOf(ledger: LedgerKind): readonly (readonly FaultKind[])[] {
  const links: readonly LinkName[] = ["redis", "sts", "okta", "clients", ...(ledger === "postgres" ? [ledger] : [])];
  const record = [...(ledger === "postgres" ? network(ledger) : []), ...ledgerFaults(ledger)];
  const redis = [...network("redis"), redisFrozen, redisEmptied];
  const kills = links.flatMap((link) => STEPS[link].map((text) => killedAt(link, text)));
  return [
    [...redis, ...steps("redis")],
    [...record, ...(ledger === "postgres" ? steps(ledger) : [])],
    // Between a request's row and its outcome's.
    record.map((kind) => startedAt(kind, "sts", "AssumeRoleWithWebIdentity")),
    SIGN_IN_STEPS.flatMap((text) => [...record, ...redis].map((kind) => startedAt(kind, "clients", text))),
    [...network("sts"), ...steps("sts"), ...STS],
    (["okta", "entra", "auth0"] as const).flatMap((id) => [...network(id), ...steps(id), idpDown(id)]),
    [brokerKilled, brokersKilled, brokerFrozen, ...kills],
    // Just when something of worth is handed over.
    [
      killedAt("clients", "AccessKeyId", "answer"),
      killedAt("clients", "access_token", "answer"),
      killedAt("sts", "AccessKeyId", "answer"),
    ],
    [
      ...network("clients").filter(({ name }) => !name.endsWith("frozen")),
      ...steps("clients", ["cut before", "cut after"]),
    ],
  ];
}

const SIGN_IN_STEPS = ["GET /login/", "/callback?", "GET /oauth/auth", "/oauth/approve/", "/oauth/token"] as const;

/** `kind`, from the moment when somebody sends `text` over `link`. */
function startedAt(kind: FaultKind, link: LinkName, text: string): FaultKind {
  return {
    name: `${kind.name}, at ${link} ${text}`,
    targets: [link, ...kind.targets],
    atStep: true,
    begin(site, amount, met) {
      let begun: Promise<Mend> | undefined;
      let first = Math.floor(((amount * 10) % 1) * 3);
      site.links[link].intercept = (bytes) => {
        if (begun || !bytes.includes(text) || first-- > 0) return "pass";
        met();
        begun = Promise.resolve(kind.begin(site, amount, met));
        return "pass";
      };
      return async () => {
        site.links[link].intercept = () => "pass";
        const mend = await begun;
        await mend?.();
      };
    },
  };
}

function network(link: LinkName): FaultKind[] {
  const targets = [link];
  return [
    {
      name: `${link}: network stopped`,
      targets,
      async begin({ links }) {
        await links[link].cut();
        return () => links[link].open();
      },
    },
    {
      name: `${link}: network frozen`,
      targets,
      begin({ links }) {
        links[link].freeze();
        return () => {
          links[link].thaw();
        };
      },
    },
    {
      name: `${link}: network slow`,
      targets,
      begin({ links }, amount) {
        links[link].slow(20 + Math.floor(amount * 600));
        return () => {
          links[link].slow(0);
        };
      },
    },
    {
      name: `${link}: network cuts in the middle`,
      targets,
      begin({ links }, amount) {
        links[link].cutEvery(200 + Math.floor(amount * 8000));
        return () => {
          links[link].cutEvery(0);
        };
      },
    },
  ];
}

function steps(link: LinkName, passages: readonly Passage[] = ["cut before", "cut after", "freeze"]): FaultKind[] {
  return STEPS[link].flatMap((text) =>
    passages.map((passage) => ({
      name: `${link}: ${passage} at ${text.trim()}`,
      targets: [link],
      atStep: true as const,
      begin: ({ links }: Site, amount: number, met: () => void) => {
        let first = Math.floor(amount * 3);
        links[link].intercept = (bytes) => {
          if (!bytes.includes(text) || first-- > 0) return "pass";
          met();
          return passage;
        };
        return async () => {
          links[link].intercept = () => "pass";
          // A browser has no time limit of its own; the brokers have, and must find out by themselves.
          if (passage === "freeze" && isProvider(link)) {
            await links[link].cut();
            await links[link].open();
          }
        };
      },
    })),
  );
}

function isProvider(link: LinkName): boolean {
  return link === "okta" || link === "entra" || link === "auth0";
}

const redisFrozen: FaultKind = {
  name: "redis: server frozen",
  targets: ["redis"],
  begin({ redis }) {
    redis.pause();
    return () => {
      redis.resume();
    };
  },
};

const redisEmptied: FaultKind = {
  name: "redis: server killed, back without its data",
  targets: ["redis"],
  async begin(site) {
    site.losses += 1;
    await site.redis.stop();
    return async () => {
      site.losses += 1;
      await site.redis.start();
    };
  },
};

function idpDown(id: "okta" | "entra" | "auth0"): FaultKind {
  return {
    name: `${id}: answers 503`,
    targets: [id],
    begin({ providers }) {
      const provider = providers.find((it) => it.id === id);
      if (provider) provider.state.down = true;
      return () => {
        if (provider) provider.state.down = false;
      };
    },
  };
}

const RETRIED = STS_ERRORS.filter(({ retry }) => retry);
const STS: readonly FaultKind[] = [
  sts("errors", (amount) => ({
    kind: "error",
    ...(RETRIED[Math.floor(amount * RETRIED.length)] ?? { wireCode: "InternalFailure", status: 500 }),
  })),
  sts("answers that are none", () => ({
    kind: "answer",
    status: 200,
    body: "<html>welcome to the hotel's network</html>",
  })),
  sts("no answers", () => ({ kind: "hang" })),
  sts("connections reset", () => ({ kind: "reset" })),
];

function sts(what: string, fault: (amount: number) => ScriptedFault): FaultKind {
  return {
    name: `sts: ${what}`,
    targets: ["sts"],
    begin(site, amount) {
      site.sts.fail(...Array.from({ length: 1 + Math.floor(amount * 5) }, () => fault(amount)));
      return () => undefined;
    },
  };
}
