import { describe, expect, it } from "vitest";
import { changed, entra, faults, provider, TENANT } from "../support/config-file.ts";

const SAML_PROVIDER = "arn:aws:iam::111122223333:saml-provider/Rolecall";

/** The configuration without fault, with that SAML provider. */
function saml(samlProviderArn: string): Record<string, unknown> {
  const config = changed("aws/federation", "saml");
  Object.assign(config["aws"] as object, { samlProviderArn });
  return config;
}

it("a SAML provider is one that AWS need not reach: port and length of baseUrl are free", () => {
  expect(faults(saml(SAML_PROVIDER))).toEqual([]);
  expect(faults({ ...saml(SAML_PROVIDER), baseUrl: "https://rolecall.acme.example:8443" })).toEqual([]);
});

describe("faults, by the field's name", () => {
  const cases: [name: string, config: object, path: string, message: RegExp][] = [
    ["a missing field", changed("baseUrl", undefined), "baseUrl", /^is missing$/],
    [
      "an environment that there isn't",
      changed("environment", "prod"),
      "environment",
      /^must be production or development$/,
    ],
    ["a missing environment", changed("environment", undefined), "environment", /^is missing$/],
    ["a field that there isn't", changed("basUrl", "x"), "basUrl", /did you mean baseUrl\?/],
    [
      "one that is written otherwise",
      changed("providers/0/client_id", "x"),
      "providers[0].client_id",
      /did you mean clientId\?/,
    ],
    ["one that is like none", changed("aws/foo", "x"), "aws.foo", /there are region, roleArn/],
    [
      "one in a source",
      changed("tags/team/from/0/provider", "okta"),
      "tags.team.from[0].provider",
      /did you mean providers\?/,
    ],
    ["a number for text", changed("tags/team/from/0/match", { a: 7 }), "tags.team.from[0].match.a", /put it in quotes/],
    ["a list for text", changed("stateDir", ["x"]), "stateDir", /^must be text$/],
    [
      "text for a list",
      changed("providers/0/emailDomains", "acme.example"),
      "providers[0].emailDomains",
      /^must be a list$/,
    ],
    ["no provider at all", changed("providers", []), "providers", /one entry at least/],
    ["no tags", changed("tags", undefined), "tags", /is missing/],
    ["empty text", changed("stateDir", ""), "stateDir", /is empty/],
    ["an allowed list that is neither", changed("tags/team/allowed", "search"), "tags.team.allowed", /list of texts/],

    ["a path in the base URL", changed("baseUrl", "https://a.example/rolecall"), "baseUrl", /nothing after/],
    ["a slash at its end", changed("baseUrl", "https://a.example/"), "baseUrl", /nothing after/],
    ["a query", changed("baseUrl", "https://a.example?x"), "baseUrl", /nothing after/],
    ["a password in it", changed("baseUrl", "https://u:p@a.example"), "baseUrl", /user name or password/],
    [
      "a base URL that IAM can't take",
      changed("baseUrl", `https://${"a".repeat(60)}.${"b".repeat(60)}.${"c".repeat(60)}.${"d".repeat(60)}`),
      "baseUrl",
      /255/,
    ],
    ["a port past the last", changed("listen", "127.0.0.1:65536"), "listen", /1 to 65535/],
    ["port 0 in production", changed("listen", "127.0.0.1:0"), "listen", /1 to 65535/],
    ["no port", changed("listen", "127.0.0.1"), "listen", /ADDRESS:PORT/],
    ["a negative number of proxies", changed("trustProxy", -1), "trustProxy", /0 at least/],

    [
      "a federation that there isn't",
      changed("aws/federation", "oidc"),
      "aws.federation",
      /must be web-identity or saml/,
    ],
    ["saml without its provider", changed("aws/federation", "saml"), "aws.samlProviderArn", /^is missing/],
    [
      "a SAML provider that nothing asks",
      changed("aws/samlProviderArn", SAML_PROVIDER),
      "aws.samlProviderArn",
      /saml$/,
    ],
    [
      "a provider that is none for SAML",
      saml("arn:aws:iam::111122223333:oidc-provider/x"),
      "aws.samlProviderArn",
      /must be an IAM SAML provider's ARN/,
    ],
    [
      "a SAML provider in another account",
      saml("arn:aws:iam::999922223333:saml-provider/Rolecall"),
      "aws.samlProviderArn",
      /account and partition of aws.roleArn/,
    ],
    [
      "one in another partition",
      saml("arn:aws-cn:iam::111122223333:saml-provider/Rolecall"),
      "aws.samlProviderArn",
      /account and partition of aws.roleArn/,
    ],

    ["plain http in production", changed("baseUrl", "http://rolecall.acme.example"), "baseUrl", /https in production/],
    ["a loopback host in production", changed("baseUrl", "https://localhost"), "baseUrl", /loopback/],
    ["one by number", changed("baseUrl", "https://127.0.0.1"), "baseUrl", /loopback/],
    ["one by IPv6", changed("baseUrl", "https://[::1]"), "baseUrl", /loopback/],
    ["all addresses as IPv6 has them", changed("baseUrl", "https://[::ffff:0:0]"), "baseUrl", /loopback/],
    ["one by its IPv6 name", changed("providers/0/issuer", "https://ip6-localhost"), "providers[0].issuer", /loopback/],
    ["a port in production", changed("baseUrl", "https://rolecall.acme.example:8443"), "baseUrl", /no port/],
    ["one in another spelling", changed("providers/0/issuer", "https://0x7f.1/"), "providers[0].issuer", /loopback/],
    [
      "one by IPv4 in IPv6",
      changed("providers/0/issuer", "https://[::ffff:127.0.0.1]/"),
      "providers[0].issuer",
      /loopback/,
    ],
    [
      "an issuer by plain http",
      changed("providers/0/issuer", "http://acme.okta.com"),
      "providers[0].issuer",
      /https in production/,
    ],
    [
      "another STS in production",
      changed("aws/stsEndpoint", "https://sts.example"),
      "aws.stsEndpoint",
      /development only/,
    ],
    ["no Redis in production", changed("redis", undefined), "redis", /is missing/],
    [
      "plain http elsewhere in development",
      { ...changed("baseUrl", "http://rolecall.acme.example"), environment: "development" },
      "baseUrl",
      /loopback host/,
    ],
    [
      "a host that only begins like one",
      { ...changed("baseUrl", "http://127.0.0.1.evil.example"), environment: "development" },
      "baseUrl",
      /loopback host/,
    ],

    ["a role that is none", changed("aws/roleArn", "arn:aws:iam::1:role/x"), "aws.roleArn", /role's ARN|20 characters/],
    ["a role of another partition", changed("aws/region", "cn-north-1"), "aws.roleArn", /arn:aws-cn:/],
    ["29 minutes", changed("aws/sessionDuration", "29m"), "aws.sessionDuration", /30m to 12h/],
    ["13 hours", changed("aws/sessionDuration", "13h"), "aws.sessionDuration", /30m to 12h/],
    ["a duration without a unit", changed("signInMaxAge", "12"), "signInMaxAge", /30m or 12h/],
    ["a sign-in for a month", changed("signInMaxAge", "30d"), "signInMaxAge", /7d at most/],
    ["claims for ever", changed("providers/0/claimsMaxAge", "99999d"), "providers[0].claimsMaxAge", /7d at most/],
    ["a transitive tag that isn't there", changed("aws/transitiveTags", ["Team"]), "aws.transitiveTags[0]", /no tag/],
    ["one twice", changed("aws/transitiveTags", ["team", "team"]), "aws.transitiveTags[1]", /second time/],

    [
      "one id twice",
      changed("providers/1", provider({ id: "okta", directory: "second" })),
      "providers[1].id",
      /providers\[0\] has this id/,
    ],
    ["an id in capitals", changed("providers/0/id", "Okta"), "providers[0].id", /lower-case/],
    [
      "a domain under two directories",
      changed("providers/1", provider({ emailDomains: ["acme.example"] })),
      "providers[1].emailDomains[0]",
      /another directory/,
    ],
    [
      "two kinds in one directory",
      changed("providers/1", provider({ kind: "auth0", directory: "okta" })),
      "providers[1].directory",
      /okta subjects/,
    ],
    [
      "two issuers' subjects in one directory",
      changed("providers", [
        provider({ id: "one", kind: "generic", directory: "all", issuer: "https://one.acme.example" }),
        provider({ id: "two", kind: "generic", directory: "all", issuer: "https://two.acme.example" }),
      ]),
      "providers[1].directory",
      /another issuer/,
    ],
    [
      "an email domain in capitals",
      changed("providers/0/emailDomains", ["Acme.example"]),
      "providers[0].emailDomains[0]",
      /lower case/,
    ],
    [
      "an organization outside Auth0",
      changed("providers/0/organization", "org_1"),
      "providers[0].organization",
      /auth0 only/,
    ],
    ["scopes without openid", changed("providers/0/scopes", ["email"]), "providers[0].scopes", /openid/],
    [
      "a query in the issuer",
      changed("providers/0/issuer", "https://acme.okta.com?x=1"),
      "providers[0].issuer",
      /no query/,
    ],
    [
      "no secret",
      changed("providers/0/clientSecret", undefined),
      "providers[0].clientSecret",
      /client_secret_basic needs it/,
    ],
    [
      "a key too much",
      changed("providers/0/clientKey", { env: "OKTA_CLIENT_SECRET" }),
      "providers[0].clientKey",
      /leave it out/,
    ],
    ["a key too little", changed("providers/0/clientAuth", "private_key_jwt"), "providers[0].clientKey", /is missing/],
    [
      "a secret too much",
      changed("providers/0/clientAuth", "private_key_jwt"),
      "providers[0].clientSecret",
      /leave it out/,
    ],
    ...["common", "organizations", "consumers", TENANT.toUpperCase(), "acme.example"].map(
      (tenant): [string, object, string, RegExp] => [
        `Entra ID's ${tenant}`,
        changed("providers/1", entra(`https://login.microsoftonline.com/${tenant}/v2.0`)),
        "providers[1].issuer",
        /one tenant/,
      ],
    ),
    [
      "an Entra ID that is none",
      changed("providers/1", entra(`https://login.evil.example/${TENANT}/v2.0`)),
      "providers[1].issuer",
      /one tenant/,
    ],
    [
      "Entra ID's version 1",
      changed("providers/1", entra(`https://sts.windows.net/${TENANT}/`)),
      "providers[1].issuer",
      /one tenant/,
    ],
    [
      "common in development",
      { ...changed("providers/1", entra("http://localhost:9000/common/v2.0")), environment: "development" },
      "providers[1].issuer",
      /one tenant/,
    ],

    [
      "a rule for nobody",
      changed("tags/team/from/0/providers", ["entra"]),
      "tags.team.from[0].providers[0]",
      /no provider/,
    ],
    [
      "access by nobody",
      changed("access", { admin: [{ provider: "entra", claim: "groups", match: ["a"] }] }),
      "access.admin[0].provider",
      /no provider/,
    ],
    ["an access that there isn't", changed("access", { auditors: [] }), "access.auditors", /did you mean auditor\?/],
    ["required with a default", changed("tags/team/default", "search"), "tags.team.default", /choose one/],
    [
      "a pattern that RE2 has not",
      changed("tags/team/from/0", { claim: "c", pattern: "(?=x)" }),
      "tags.team.from[0].pattern",
      /RE2/,
    ],
    [
      "open tags too long together",
      changed("tags", { a: { from: [{ claim: "a" }] }, b: { from: [{ claim: "b" }] } }),
      "tags",
      /bytes/,
    ],
  ];
  it.each(cases)("%s", (_name, config, path, message) => {
    const found = faults(config);
    expect(found.map((fault) => fault.path)).toContain(path);
    expect(
      found
        .filter((fault) => fault.path === path)
        .map((fault) => fault.message)
        .join("\n"),
    ).toMatch(message);
  });

  it("are all told at once, of shape, rules, secrets and files", () => {
    const config = {
      ...changed("providers/1", provider({ kind: "entra", issuer: "https://login.microsoftonline.com/common/v2.0" })),
      baseUrl: "http://localhost/",
      trustProxy: "one",
      aws: { region: "us-east-1" },
      tags: {
        team: { required: true, default: "x", from: [{ claim: "a", providers: ["nobody"] }] },
        cc: { from: [], allowed: { file: "no.csv" } },
      },
      redis: undefined,
      nonsense: 1,
    };
    expect(
      faults(config, {})
        .map(({ path }) => path)
        .sort(),
    ).toEqual(
      [
        "aws.roleArn",
        "baseUrl",
        "baseUrl",
        "baseUrl",
        "nonsense",
        "providers[0].clientSecret",
        "providers[1].clientSecret",
        "providers[1].issuer",
        "redis",
        "tags.cc.allowed.file",
        "tags.cc.from",
        "tags.team.default",
        "tags.team.from[0].providers[0]",
        "trustProxy",
      ].sort(),
    );
  });

  it("of one provider don't hide those of another, nor of the tags", () => {
    const config = changed("providers/1", provider({ clientId: undefined, emailDomains: [] }));
    const second = { ...config, tags: { team: { from: [{ claim: "c", pattern: "(" }] } } };
    const paths = faults(second, {}).map(({ path }) => path);
    expect(paths).toEqual(
      expect.arrayContaining([
        "providers[0].clientSecret",
        "providers[1].clientId",
        "providers[1].emailDomains",
        "tags.team.from[0].pattern",
      ]),
    );
  });
});
