import { describe, expect, it } from "vitest";
import { OUTCOME_TYPES } from "../../src/flow/audit-event.ts";
import { Refusal } from "../../src/flow/errors.ts";
import type { Identity } from "../../src/flow/identity.ts";
import type { Demand } from "../../src/flow/demand.ts";
import type { RefreshClaims } from "../../src/flow/freshness.ts";
import {
  decide,
  issueCredentials,
  type IssuePorts,
  type IssueRequest,
  type IssueSettings,
} from "../../src/flow/issue.ts";
import { StsRefusal } from "../../src/flow/ports.ts";
import { compileMapping, type Mapping, type TagRules } from "../../src/flow/tags.ts";
import { ledgerDown, memoryLedger, memoryPorts, stsSession, type MemoryLedger } from "../support/issue-ports.ts";

const NOW = Date.UTC(2026, 10, 22, 12);
const HOUR = 3_600_000;
const ROLE = "arn:aws:iam::111122223333:role/ai/BedrockShared";
const JANE = "jane@acme.example";

function mapping(rules: TagRules): Mapping {
  const compiled = compileMapping(rules);
  if ("faults" in compiled) throw new Error(JSON.stringify(compiled.faults));
  return compiled.mapping;
}

const settings: IssueSettings = {
  mapping: mapping({
    team: { required: true, from: [{ claim: "groups", match: { "bedrock-search": "search" } }] },
    "cost-centre": { from: [{ claim: "costCenter" }], allowed: ["cc-1042", "unallocated"], default: "unallocated" },
  }),
  issuer: "https://rolecall.acme.example/federation",
  federation: "web-identity",
  audience: "sts.amazonaws.com",
  roleArn: ROLE,
  transitiveTags: ["team"],
  sessionDurationSeconds: 3600,
  signInMaxAgeSeconds: 12 * 3600,
  claimsMaxAgeSeconds: { okta: 3600 },
};

const jane: Identity = {
  provider: "okta",
  directory: "okta",
  subject: "00u1",
  email: "Jane@acme.example",
  claims: { groups: ["bedrock-search"], costCenter: "cc-1042" },
  signedInAt: NOW - HOUR / 2,
  claimsAt: NOW - HOUR / 2,
};

const nothing: Demand = { body: "", queryNames: [], headerNames: ["host", "authorization", "content-type"] };

function request(over: Partial<IssueRequest> = {}): IssueRequest {
  const caller = { requestId: "req-1", client: "rolecall-cli", address: "203.0.113.7", userAgent: "rolecall/0.1" };
  return { identity: jane, grantId: "grant-1", caller, demand: nothing, ...over };
}

function world(): { story: string[]; ledger: ReturnType<typeof memoryLedger>; ports: ReturnType<typeof memoryPorts> } {
  const story: string[] = [];
  const ledger = memoryLedger({ "okta 00u1": JANE }, story);
  return { story, ledger, ports: memoryPorts(ledger, story, () => NOW) };
}

async function codeOf(promise: Promise<unknown>): Promise<string> {
  const error: unknown = await promise.then(
    () => "released",
    (reason: unknown) => reason,
  );
  return error instanceof Refusal ? error.code : String(error);
}

describe("the story of an issue", () => {
  it("records, signs, asks STS, records, and only then releases", async () => {
    const { story, ledger, ports } = world();
    const issued = await issueCredentials(ports, settings, request());
    expect(story).toEqual(["credentials.requested", "sign", "sts", "credentials.issued"]);
    expect(issued).toMatchObject({
      sessionArn: `arn:aws:sts::111122223333:assumed-role/BedrockShared/${JANE}`,
      tags: { team: "search", "cost-centre": "cc-1042" },
      ledgerSeq: 2,
    });
    const [requested, outcome] = ledger.rows;
    expect(requested).toMatchObject({
      type: "credentials.requested",
      requestId: "req-1",
      provider: "okta",
      directory: "okta",
      subject: "00u1",
      email: "Jane@acme.example",
      sessionName: JANE,
      tags: issued.tags,
      claims: jane.claims,
      mappingVersion: settings.mapping.version,
      roleArn: ROLE,
      durationSeconds: 3600,
      client: "rolecall-cli",
    });
    expect(outcome).toMatchObject({
      type: "credentials.issued",
      outcome: "success",
      tokenId: requested?.tokenId,
      stsRequestId: "sts-request-1",
      accessKeyId: issued.credentials.accessKeyId,
      packedPolicySize: 25,
    });
    expect(JSON.stringify(ledger.rows)).not.toMatch(/a-secret-access-key|a-session-token|jwt-/);
  });

  it("puts one name into sub and source identity, the role, and tags as lists", async () => {
    const { ports } = world();
    await issueCredentials(ports, settings, request());
    expect(ports.signed).toMatchObject([
      {
        iss: "https://rolecall.acme.example/federation",
        aud: "sts.amazonaws.com",
        sub: JANE,
        iat: NOW / 1000,
        exp: NOW / 1000 + 300,
        "https://aws.amazon.com/source_identity": JANE,
        "https://aws.amazon.com/roles": [ROLE],
        "https://aws.amazon.com/tags": {
          principal_tags: { team: ["search"], "cost-centre": ["cc-1042"] },
          transitive_tag_keys: ["team"],
        },
      },
    ]);
    expect(ports.signed[0]).not.toHaveProperty("azp");
  });

  it("takes the name that the ledger has, not the one of today's email", async () => {
    const { story } = world();
    const ledger = memoryLedger({ "okta 00u1": "jane-maiden@acme.example" }, story);
    const ports = memoryPorts(ledger, story, () => NOW);
    const issued = await issueCredentials(ports, settings, request());
    expect(issued.sessionArn).toMatch(/\/jane-maiden@acme\.example$/);
  });

  it("looks whether all still lives between STS and the release, and hands out nothing where it does not", async () => {
    const { ports, ledger, story } = world();
    const requireLive = (identity: Identity, grantId: string): Promise<void> => {
      story.push(`live ${identity.subject} ${grantId}`);
      return Promise.reject(new Refusal("sign_in_revoked", "the provider has ended the sign-in"));
    };
    expect(await codeOf(issueCredentials({ ...ports, requireLive }, settings, request()))).toBe("sign_in_revoked");
    expect(story).toEqual(["credentials.requested", "sign", "sts", "live 00u1 grant-1", "credentials.failed"]);
    expect(ledger.rows.at(-1)).toMatchObject({ reason: "sign_in_revoked", outcome: "failed" });
  });

  it("names the sign-in and the grant in every row, by what opens nothing", async () => {
    const { ports, ledger } = world();
    const identity = { ...jane, signIn: { id: "sign-in-1", seq: 7 } };
    await issueCredentials(ports, settings, request({ identity }));
    for (const row of ledger.rows) {
      expect(row).toMatchObject({ signInId: "sign-in-1", grantId: expect.stringMatching(/^[0-9a-f]{32}$/) as string });
    }
    expect(JSON.stringify(ledger.rows)).not.toContain("grant-1");
  });

  it("decides the same for the page as for the credentials", async () => {
    const { ports, story } = world();
    const decided = await decide(ports, settings, jane);
    expect(decided).toMatchObject({ sessionName: JANE, tags: { team: "search", "cost-centre": "cc-1042" } });
    expect(story).toEqual([]);
  });
});

describe("a refusal is recorded exactly once, and nothing is handed out", () => {
  const with_ = (over: Partial<Identity>): Partial<IssueRequest> => ({ identity: { ...jane, ...over } });
  const cases: [name: string, over: Partial<IssueRequest>, code: string][] = [
    ["claims past claimsMaxAge", with_({ claimsAt: NOW - HOUR - 1 }), "claims_expired"],
    ["sign-in past signInMaxAge", with_({ signedInAt: NOW - 12 * HOUR - 1 }), "sign_in_expired"],
    ["claims of no time at all", with_({ claimsAt: NaN }), "claims_expired"],
    ["a sign-in of no time at all", with_({ signedInAt: NaN }), "sign_in_expired"],
    ["a provider that is gone", with_({ provider: "gone" }), "sign_in_expired"],
    ["a provider named like a property of every object", with_({ provider: "constructor" }), "sign_in_expired"],
    ["a missing required tag", with_({ claims: { groups: [], costCenter: null } }), "tag_missing"],
    ["a claim that was not kept", with_({ claims: { groups: ["bedrock-search"] } }), "claim_not_kept"],
    ["a value off the list", with_({ claims: { groups: "bedrock-search", costCenter: "cc-9" } }), "tag_not_allowed"],
    ["nobody bound", with_({ subject: "00u2" }), "name_unbound"],
    ["the same subject of another directory", with_({ directory: "entra" }), "name_unbound"],
  ];
  it.each(cases)("%s", async (_name, over, code) => {
    const { story, ledger, ports } = world();
    expect(await codeOf(issueCredentials(ports, settings, request(over)))).toBe(code);
    expect(story).toEqual(["credentials.denied"]);
    expect(ledger.rows[0]).toMatchObject({
      requestId: "req-1",
      subject: expect.any(String) as string,
      outcome: "refused",
      reason: code,
    });
  });

  it("takes claims and sign-in at the last moment of their age", async () => {
    const { ports } = world();
    const identity = { ...jane, claimsAt: NOW - HOUR, signedInAt: NOW - 12 * HOUR };
    expect(await codeOf(issueCredentials(ports, settings, request({ identity })))).toBe("released");
  });

  it("holds the trace of a refused mapping", async () => {
    const { ledger, ports } = world();
    const identity = { ...jane, claims: { groups: ["unknown"], costCenter: "cc-1042" } };
    await codeOf(issueCredentials(ports, settings, request({ identity })));
    expect(ledger.rows[0]?.trace).toEqual([
      { tag: "team", rule: "from[0]", claim: "groups", outcome: "no match" },
      { tag: "cost-centre", rule: "from[0]", claim: "costCenter", value: "cc-1042", outcome: "spoke" },
    ]);
  });
});

describe("law 6: claims past claimsMaxAge", () => {
  const stale: Identity = { ...jane, claimsAt: NOW - HOUR - 1, refreshId: "held" };
  const fresh: Identity = { ...stale, claims: { groups: "bedrock-search", costCenter: null }, claimsAt: NOW };
  const asked = (answer: Identity): { ports: IssuePorts; ledger: MemoryLedger; questions: number[] } => {
    const questions: number[] = [];
    const { ports, ledger } = world();
    const refreshClaims: RefreshClaims = (_identity, notBefore) => {
      questions.push(notBefore);
      return Promise.resolve(answer);
    };
    return { ports: { ...ports, refreshClaims }, ledger, questions };
  };

  it("are asked for anew, and what comes decides the tags and stands in the record", async () => {
    const { ports, ledger, questions } = asked(fresh);
    const issued = await issueCredentials(ports, settings, request({ identity: stale }));
    expect(issued.tags).toEqual({ team: "search", "cost-centre": "unallocated" });
    expect(ledger.rows.map(({ type, claims }) => [type, claims])).toEqual([
      ["credentials.requested", fresh.claims],
      ["credentials.issued", fresh.claims],
    ]);
    expect(await decide(ports, settings, stale)).toMatchObject({ tags: issued.tags });
    expect(questions).toEqual([NOW - HOUR, NOW - HOUR]);
  });

  it("are not asked for while they are fresh, nor by a request that would be refused anyway", async () => {
    const { ports, questions } = asked(fresh);
    await issueCredentials(ports, settings, request({ identity: { ...stale, claimsAt: NOW - HOUR } }));
    const demand = { ...nothing, body: '{"team":"ml"}' };
    await codeOf(issueCredentials(ports, settings, request({ identity: stale, demand })));
    await codeOf(issueCredentials(ports, settings, request({ identity: { ...stale, signedInAt: NOW - 13 * HOUR } })));
    expect(questions).toEqual([]);
  });

  const others: [name: string, over: Partial<Identity>, code: string][] = [
    ["another subject", { subject: "00u2" }, "identity_changed"],
    ["another directory", { directory: "entra" }, "identity_changed"],
    ["another provider", { provider: "entra" }, "identity_changed"],
    ["another email", { email: "jane-maiden@acme.example" }, "identity_changed"],
    ["claims that are too old as well", { claimsAt: NOW - HOUR - 1 }, "claims_expired"],
    ["claims of no time at all", { claimsAt: NaN }, "claims_expired"],
    ["a group that no rule knows", { claims: { groups: "x", costCenter: null } }, "tag_missing"],
  ];
  it.each(others)("that come as %s are refused, once on record", async (_name, over, code) => {
    const { ports, ledger } = asked({ ...fresh, ...over });
    expect(await codeOf(issueCredentials(ports, settings, request({ identity: stale })))).toBe(code);
    expect(ledger.rows.map(({ type, reason }) => [type, reason])).toEqual([["credentials.denied", code]]);
  });

  it.each(["sign_in_revoked", "idp_unreachable", "guest_refused"] as const)(
    "that end in %s: no credentials",
    async (code) => {
      const { ports, ledger, story } = world();
      const refreshClaims = (): Promise<never> => Promise.reject(new Refusal(code, "no"));
      const issuing = issueCredentials({ ...ports, refreshClaims }, settings, request({ identity: stale }));
      expect(await codeOf(issuing)).toBe(code);
      expect(story).toEqual(["credentials.denied"]);
      expect(ledger.rows[0]).toMatchObject({ requestId: "req-1", reason: code, outcome: "refused" });
    },
  );
});

describe("law 2: the caller chooses nothing that is attributed", () => {
  const body = (value: unknown): Partial<Demand> => ({ body: JSON.stringify(value) });
  const header = (name: string): Partial<Demand> => ({ headerNames: ["host", name] });
  const refused: [name: string, demand: Partial<Demand>, code: string][] = [
    ...[
      "role",
      "roleArn",
      "sessionName",
      "RoleSessionName",
      "tags",
      "team",
      "sourceIdentity",
      "policy",
      "__proto__",
    ].map((key): [string, Partial<Demand>, string] => [
      `${key} in the body`,
      { body: `{"durationSeconds":900,${JSON.stringify(key)}:{"team":"ml"}}` },
      "request_not_allowed",
    ]),
    ...["role", "team", "durationSeconds", "x"].map((key): [string, Partial<Demand>, string] => [
      `${key} in the query`,
      { queryNames: [key] },
      "request_not_allowed",
    ]),
    ...[
      "team",
      "x-team",
      "x-rolecall-team",
      "cost-centre",
      "role",
      "x-role-arn",
      "x-rolecall-role",
      "session-name",
      "role-session-name",
      "x-amz-source-identity",
      "x-tags",
      "session-tags",
      "principal-tag",
      "rolesessionname",
      "role_arn",
      "x-amzn-role-arn",
      "principaltags",
      "transitive-tag-keys",
      "rolecall-team",
      "x-amz-team",
      "x-tag-team",
      "x-rolecall-session-tag-team",
      "cost_centre",
      "x-costcentre",
    ].map((name): [string, Partial<Demand>, string] => [`header ${name}`, header(name), "request_not_allowed"]),
    ["a body that is no JSON", { body: "{" }, "request_malformed"],
    ["null", body(null), "request_malformed"],
    ["a list", body([{ durationSeconds: 900 }]), "request_malformed"],
    ["text for the duration", body({ durationSeconds: "900" }), "request_malformed"],
    ["a fraction", body({ durationSeconds: 900.5 }), "request_malformed"],
    ["899 seconds", body({ durationSeconds: 899 }), "duration_out_of_range"],
    ["longer than configured", body({ durationSeconds: 3601 }), "duration_out_of_range"],
    ["a negative duration", body({ durationSeconds: -1 }), "duration_out_of_range"],
  ];
  it.each(refused)("refuses %s", async (_name, demand, code) => {
    const { story, ports } = world();
    expect(await codeOf(issueCredentials(ports, settings, request({ demand: { ...nothing, ...demand } })))).toBe(code);
    expect(story).toEqual(["credentials.denied"]);
  });

  const taken: [name: string, demand: Partial<Demand>, seconds: number][] = [
    ["no body", {}, 3600],
    ["an empty object", body({}), 3600],
    ["the shortest", body({ durationSeconds: 900 }), 900],
    ["the longest", body({ durationSeconds: 3600 }), 3600],
    ["a proxy's headers", { headerNames: ["x-forwarded-for", "x-request-id", "traceparent", "x-amzn-trace-id"] }, 3600],
  ];
  it.each(taken)("takes %s", async (_name, demand, seconds) => {
    const { ledger, ports } = world();
    expect(await codeOf(issueCredentials(ports, settings, request({ demand: { ...nothing, ...demand } })))).toBe(
      "released",
    );
    expect(ledger.rows[0]?.durationSeconds).toBe(seconds);
  });

  it("locks nobody out whose tag is named like a header that every client sends", async () => {
    const { ports } = world();
    const rules: TagRules = {
      Host: { from: [], default: "a" },
      priority: { from: [], default: "b" },
      UserAgent: { from: [], default: "c" },
    };
    const demand = { ...nothing, headerNames: ["host", "priority", "user-agent"] };
    const there = { ...settings, mapping: mapping(rules), transitiveTags: [] };
    expect(await codeOf(issueCredentials(ports, there, request({ demand })))).toBe("released");
    const chosen = { ...nothing, headerNames: ["x-rolecall-host"] };
    expect(await codeOf(issueCredentials(ports, there, request({ demand: chosen })))).toBe("request_not_allowed");
  });
});

describe("law 1: no record, no credentials", () => {
  it("asks nobody when the request can't be recorded", async () => {
    const { story, ledger, ports } = world();
    ledger.beforeAppend = () => {
      throw ledgerDown();
    };
    expect(await codeOf(issueCredentials(ports, settings, request()))).toBe("ledger_unavailable");
    expect(story).toEqual([]);
  });

  it("releases nothing when the outcome can't be recorded, and flows again once it can", async () => {
    const { story, ledger, ports } = world();
    ledger.beforeAppend = ({ type }) => {
      if (type === "credentials.issued") throw ledgerDown();
    };
    expect(await codeOf(issueCredentials(ports, settings, request()))).toBe("ledger_unavailable");
    expect(story).toEqual(["credentials.requested", "sign", "sts"]);
    ledger.beforeAppend = () => undefined;
    expect(await codeOf(issueCredentials(ports, settings, request()))).toBe("released");
  });

  it("waits for the record, however slow", async () => {
    const { story, ledger, ports } = world();
    const written = Promise.withResolvers<undefined>();
    ledger.beforeAppend = () => written.promise;
    const issuing = issueCredentials(ports, settings, request());
    await new Promise(setImmediate);
    expect(story).toEqual([]);
    written.resolve(undefined);
    await issuing;
    expect(story[0]).toBe("credentials.requested");
  });

  it("still refuses, and as what it was, when a refusal can't be recorded", async () => {
    const { ledger, ports } = world();
    ledger.beforeAppend = () => {
      throw ledgerDown();
    };
    const identity = { ...jane, claimsAt: 0 };
    expect(await codeOf(issueCredentials(ports, settings, request({ identity })))).toBe("claims_expired");
  });
});

describe("a request that failed after it was recorded has one outcome", () => {
  const other = stsSession("arn:aws:iam::111122223333:role/Admin", JANE, NOW);
  const cases: [name: string, assumeRole: ReturnType<typeof memoryPorts>["assumeRole"], code: string][] = [
    ["STS says no", () => Promise.reject(new StsRefusal("sts_access_denied", "no", "sts-9")), "sts_access_denied"],
    ["STS breaks in a way that nobody expected", () => Promise.reject(new Error("boom")), "internal_error"],
    ["STS answers for another role", () => Promise.resolve(other), "sts_response_invalid"],
    [
      "STS answers with another name",
      () => Promise.resolve(stsSession(ROLE, "omar@acme.example", NOW)),
      "sts_response_invalid",
    ],
    [
      "STS answers without the source identity",
      () => Promise.resolve({ ...stsSession(ROLE, JANE, NOW), sourceIdentity: undefined }),
      "sts_response_invalid",
    ],
  ];
  it.each(cases)("%s", async (_name, assumeRole, code) => {
    const { ledger, ports } = world();
    expect(await codeOf(issueCredentials({ ...ports, assumeRole }, settings, request()))).toBe(code);
    expect(ledger.rows.map((row) => row.type)).toEqual(["credentials.requested", "credentials.failed"]);
    expect(ledger.rows[1]).toMatchObject({ requestId: "req-1", outcome: "failed", reason: code });
    if (code === "sts_access_denied") expect(ledger.rows[1]?.stsRequestId).toBe("sts-9");
  });

  it("a token that fails its own check is never sent", async () => {
    const { story, ports } = world();
    const sign = (): Promise<never> => Promise.reject(new Refusal("federation_token_invalid", "kid"));
    expect(await codeOf(issueCredentials({ ...ports, sign }, settings, request()))).toBe("federation_token_invalid");
    expect(story).toEqual(["credentials.requested", "credentials.failed"]);
  });
});

describe("callers of one grant at one moment", () => {
  const callers = (n: number, over: (i: number) => Partial<IssueRequest> = () => ({})): IssueRequest[] =>
    Array.from({ length: n }, (_, i) => {
      const base = request();
      return { ...base, caller: { ...base.caller, requestId: `req-${i}` }, ...over(i) };
    });

  it("share one call to STS, with two rows each, all requested before it", async () => {
    const { story, ledger, ports } = world();
    const issued = await Promise.all(callers(50).map((one) => issueCredentials(ports, settings, one)));
    expect(story.filter((step) => step === "sts")).toHaveLength(1);
    expect(new Set(issued.map(({ credentials }) => credentials.accessKeyId)).size).toBe(1);
    expect(new Set(issued.map(({ ledgerSeq }) => ledgerSeq)).size).toBe(50);
    for (let i = 0; i < 50; i += 1) {
      const rows = ledger.rows.filter((row) => row.requestId === `req-${i}`);
      expect(rows.map((row) => row.type)).toEqual(["credentials.requested", "credentials.issued"]);
    }
    expect(new Set(ledger.rows.map((row) => row.tokenId)).size).toBe(1);
  });

  it("each get its refusal recorded when the shared call fails", async () => {
    const { ledger, ports } = world();
    const assumeRole = (): Promise<never> => Promise.reject(new StsRefusal("sts_throttled", "slow down", undefined));
    const codes = await Promise.all(
      callers(5).map((one) => codeOf(issueCredentials({ ...ports, assumeRole }, settings, one))),
    );
    expect(new Set(codes)).toEqual(new Set(["sts_throttled"]));
    expect(ledger.rows.filter((row) => row.type === "credentials.failed")).toHaveLength(5);
  });

  it("one whose record fails gets nothing, and the others theirs", async () => {
    const { story, ledger, ports } = world();
    ledger.beforeAppend = ({ requestId }) => {
      if (requestId === "req-0") throw ledgerDown();
    };
    const codes = await Promise.all(callers(3).map((one) => codeOf(issueCredentials(ports, settings, one))));
    expect(codes).toEqual(["ledger_unavailable", "released", "released"]);
    expect(story.filter((step) => step === "sts")).toHaveLength(1);
  });

  const apart: [name: string, over: (i: number) => Partial<IssueRequest>][] = [
    ["another grant", (i) => ({ grantId: `grant-${i}` })],
    ["another duration", (i) => ({ demand: { ...nothing, body: JSON.stringify({ durationSeconds: 900 + i }) } })],
    [
      "other tags",
      (i) => ({
        identity: { ...jane, claims: { groups: ["bedrock-search"], costCenter: i === 0 ? "cc-1042" : null } },
      }),
    ],
  ];
  it.each(apart)("%s is another call", async (_name, over) => {
    const { story, ports } = world();
    await Promise.all(callers(2, over).map((one) => issueCredentials(ports, settings, one)));
    expect(story.filter((step) => step === "sts")).toHaveLength(2);
  });

  it("who comes when STS has answered gets a call of their own, though the first still waits for the record", async () => {
    const { story, ledger, ports } = world();
    const waiting = Promise.withResolvers<undefined>();
    const written = Promise.withResolvers<undefined>();
    ledger.beforeAppend = ({ type, requestId }) => {
      if (type !== "credentials.issued" || requestId !== "req-0") return;
      waiting.resolve(undefined);
      return written.promise;
    };
    const [first, second] = callers(2) as [IssueRequest, IssueRequest];
    const early = issueCredentials(ports, settings, first);
    await waiting.promise;
    const late = await issueCredentials(ports, settings, second);
    written.resolve(undefined);
    expect(late.credentials.accessKeyId).not.toBe((await early).credentials.accessKeyId);
    expect(story.filter((step) => step === "sts")).toHaveLength(2);
  });

  it("a token's ID that was given up is never used", async () => {
    const { ledger, ports } = world();
    const ids: (string | undefined)[] = [];
    ledger.beforeAppend = ({ tokenId }) => {
      ids.push(tokenId);
      if (ids.length === 1) throw ledgerDown();
    };
    await codeOf(issueCredentials(ports, settings, request()));
    await issueCredentials(ports, settings, request());
    expect(ids[1]).not.toBe(ids[0]);
  });

  it("later callers get a call of their own, also after a failed one", async () => {
    const { story, ports } = world();
    const failing = { ...ports, assumeRole: (): Promise<never> => Promise.reject(new Error("boom")) };
    await codeOf(issueCredentials(failing, settings, request()));
    await issueCredentials(ports, settings, request());
    await issueCredentials(ports, settings, request());
    expect(story.filter((step) => step === "sts")).toHaveLength(2);
    expect(story.filter((step) => OUTCOME_TYPES.some((type) => type === step))).toEqual([
      "credentials.failed",
      "credentials.issued",
      "credentials.issued",
    ]);
  });
});
