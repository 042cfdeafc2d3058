import { beforeAll, describe, expect, test } from "vitest";
import { printTemplate, TEMPLATE_NAMES } from "../../src/operator/template.ts";
import { newSamlIdpKey } from "../../src/sandbox/saml/key.ts";
import { changed, configFolder, TENANT } from "../support/config-file.ts";
import { recordingIo } from "../support/operator-io.ts";

const BASE = "https://rolecall.acme.example";
const KINDS = ["okta", "entra", "auth0", "generic"] as const;
const GUIDES = KINDS.flatMap((kind) => (["oidc", "saml"] as const).map((protocol) => [kind, protocol] as const));

let pem: string;
beforeAll(async () => {
  pem = (await newSamlIdpKey({ notAfter: new Date("2031-05-06T00:00:00Z") })).certificate;
});

const OIDC_ISSUERS = {
  okta: "https://acme.okta.com",
  entra: `https://login.microsoftonline.com/${TENANT}/v2.0`,
  auth0: "https://acme.eu.auth0.com/",
  generic: "https://id.acme.example",
};

function provider(kind: (typeof KINDS)[number], protocol: "oidc" | "saml", over: object = {}): object {
  const shared = { id: `${kind}-1`, kind, protocol, emailDomains: ["acme.example"] };
  if (protocol === "oidc") {
    const oidc = { issuer: OIDC_ISSUERS[kind], clientId: "client-0a1", clientSecret: { env: "SECRET" } };
    return { ...shared, ...oidc, ...over };
  }
  const issuer = kind === "entra" ? `https://sts.windows.net/${TENANT}/` : `urn:idp:${kind}`;
  const certificates = [{ file: "idp.pem" }];
  return { ...shared, issuer, entryPoint: "https://idp.acme.example/sso", certificates, ...over };
}

const TAGS = {
  team: { required: true, from: [{ claim: "groups", match: { "bedrock-search": "search" } }], allowed: ["search"] },
  "cost-centre": {
    from: [{ claim: "https://acme.example/a|b`c" }, { claim: "/profile/cost~1centre" }, { claim: "roles" }],
    default: "none",
  },
};
const CLAIMS = ["groups", "https://acme.example/a\\|b`c", "profile", "/profile/cost~1centre", "roles", "department"];

async function guide(
  name: string,
  providers: object[],
  only?: string,
): Promise<{ code: number; out: string; err: string }> {
  using folder = configFolder();
  folder.write("idp.pem", pem);
  const first = (providers[0] as { id: string }).id;
  const access = { auditor: [{ provider: first, claim: "department", match: ["audit"] }] };
  const config = folder.write("rolecall.yaml", { ...changed("providers", providers), tags: TAGS, access });
  const io = recordingIo({});
  const code = await printTemplate(`idp/${name}`, { config, ...(only !== undefined && { provider: only }) }, io);
  return { code, out: io.stdout(), err: io.stderr() };
}

test("there is a guide for each kind and protocol", () => {
  expect(TEMPLATE_NAMES).toEqual(expect.arrayContaining(GUIDES.map(([kind, protocol]) => `idp/${kind}-${protocol}`)));
});

describe.each(GUIDES)("%s by %s", (kind, protocol) => {
  const name = `${kind}-${protocol}`;
  const addresses = (id: string): string[] => {
    const paths = protocol === "oidc" ? ["callback"] : ["acs", "metadata", "slo"];
    return paths.map((path) => `${BASE}/login/${id}/${path}`);
  };

  test("has this installation's own values, and every claim that its rules read", async () => {
    const { code, out, err } = await guide(name, [provider(kind, protocol)]);
    expect([code, err]).toEqual([0, ""]);
    expect(out.startsWith("# ")).toBe(true);
    expect(out).toContain(`: \`${kind}-1\`\n`);
    for (const address of addresses(`${kind}-1`)) expect(out).toContain(address);
    const own = provider(kind, protocol) as Record<string, string>;
    for (const field of ["issuer", "clientId", "entryPoint"]) expect(out).toContain(own[field] ?? "");
    for (const claim of CLAIMS) expect(out).toContain(claim);
    expect(out).toMatch(/read by tag team\b.*|read by tag cost-centre/);
    expect(out).toContain("read by access auditor");
    if (protocol === "saml") expect(out).toMatch(/SHA-256 [0-9A-F:]{95}, until 2031-05-06/);
    // Nothing was left for somebody to fill in, nor by a field that is not there.
    expect(out).not.toMatch(/to be chosen|undefined|<%|\[object/);
  });

  test("says what is to be chosen where there is no such provider yet, and needs nothing of it", async () => {
    const [other] = GUIDES.filter(([k, p]) => k !== kind || p !== protocol);
    const { code, out } = await guide(name, [provider(other?.[0] ?? "okta", other?.[1] ?? "oidc")]);
    expect(code).toBe(0);
    expect(out).toContain("rolecall.yaml has no such provider yet");
    for (const address of addresses("ID")) expect(out).toContain(address);
    for (const claim of CLAIMS) expect(out).toContain(claim);
    expect(out).not.toMatch(/undefined|<%|\[object/);
  });

  test("lists several, or the one that is asked for", async () => {
    const two = ["one", "two"].map((id) => provider(kind, protocol, { id, directory: "people" }));
    const both = await guide(name, two);
    for (const address of [...addresses("one"), ...addresses("two")]) expect(both.out).toContain(address);
    const only = await guide(name, two, "two");
    for (const address of addresses("two")) expect(only.out).toContain(address);
    expect(only.out).not.toContain("/login/one");
    const none = await guide(name, two, "three");
    expect([none.code, none.out]).toEqual([1, ""]);
    expect(none.err).toContain(`no provider of kind ${kind} and protocol ${protocol} has that id`);
  });
});

describe("what a setting changes", () => {
  test("the grant for refresh tokens goes with offline_access", async () => {
    for (const kind of ["okta", "entra", "auth0", "generic"] as const) {
      const asked = await guide(`${kind}-oidc`, [provider(kind, "oidc", { scopes: ["openid", "offline_access"] })]);
      const not = await guide(`${kind}-oidc`, [provider(kind, "oidc", { scopes: ["openid"] })]);
      expect(asked.out).toMatch(/refresh token|refresh_token/i);
      expect(asked.out).toContain("asks again after `claimsMaxAge`");
      expect(not.out).not.toContain("asks again after `claimsMaxAge`");
    }
  });

  test("Entra ID signs what wantResponseSigned demands", async () => {
    expect((await guide("entra-saml", [provider("entra", "saml")])).out).toContain(
      "| Sign SAML response and assertion |",
    );
    const loose = await guide("entra-saml", [provider("entra", "saml", { wantResponseSigned: false })]);
    expect(loose.out).toContain("| Sign SAML assertion, as");
  });

  test("Auth0's add-on is JSON with these addresses, and its Action sends the claims", async () => {
    const { out } = await guide("auth0-saml", [provider("auth0", "saml", { organization: "org_1" })]);
    const addOn = JSON.parse(/```json\n([^]*?)```/.exec(out)?.[1] ?? "") as Record<string, unknown>;
    const login = `${BASE}/login/auth0-1`;
    expect(addOn).toMatchObject({
      audience: `${login}/metadata`,
      recipient: `${login}/acs`,
      destination: `${login}/acs`,
      signResponse: true,
      logout: { callback: `${login}/slo` },
    });
    for (const name of ["groups", "profile", "roles", "department"]) {
      expect(out).toContain(`api.samlResponse.setAttribute("${name}", facts["${name}"]);`);
    }
    expect(out).toContain('api.samlResponse.setAttribute("http://schemas.auth0.com/org_id", event.organization?.id);');
  });

  test("who it is: a persistent NameID, or the attribute that subjectClaim names", async () => {
    for (const kind of ["okta", "generic"] as const) {
      expect((await guide(`${kind}-saml`, [provider(kind, "saml")])).out).toMatch(/persistent/i);
      const named = (await guide(`${kind}-saml`, [provider(kind, "saml", { subjectClaim: "employeeNo" })])).out;
      expect(named).toContain("`employeeNo`");
      expect(named).not.toMatch(/persistent/i);
    }
  });

  test("the claims of Entra ID and Auth0 stand under the names that they have in SAML", async () => {
    const { out } = await guide("entra-saml", [provider("entra", "saml")]);
    for (const name of ["claims/groups", "claims/role"]) {
      expect(out).toContain(`\`http://schemas.microsoft.com/ws/2008/06/identity/${name}\``);
    }
  });

  test("rules that listen to others have no part in it", async () => {
    const both = [provider("okta", "oidc"), provider("entra", "oidc", { emailDomains: ["emea.acme.example"] })];
    expect((await guide("okta-oidc", both)).out).toContain("`department`");
    expect((await guide("entra-oidc", both)).out).not.toContain("`department`");
  });
});
