import { beforeAll, expect, test } from "vitest";
import { newSamlIdpKey } from "../../src/sandbox/saml/key.ts";
import { changed, faults, taken, TENANT } from "../support/config-file.ts";

let pem: string;
let weak: string;
beforeAll(async () => {
  pem = (await newSamlIdpKey()).certificate;
  weak = (await newSamlIdpKey({ bits: 1024 })).certificate;
});

const saml = {
  id: "okta-saml",
  kind: "okta",
  protocol: "saml",
  issuer: "http://www.okta.com/exk1",
  entryPoint: "https://acme.okta.com/app/exk1/sso/saml",
  certificates: [{ file: "okta.pem" }],
  emailDomains: ["acme.example"],
};

function of(over: object): Parameters<typeof faults> {
  const fields: [string, unknown][] = Object.entries({ ...saml, ...over });
  const provider = Object.fromEntries(fields.filter(([, value]) => value !== undefined));
  return [changed("providers", [provider]), undefined, { "okta.pem": pem, "weak.pem": weak, "none.pem": "x" }];
}

test("a SAML provider is taken, with what is safe where nothing is said", () => {
  expect(taken(...of({})).providers).toMatchObject([
    {
      protocol: "saml",
      spEntityId: "https://rolecall.acme.example/login/okta-saml/metadata",
      wantResponseSigned: true,
      forceAuthn: false,
      requestBinding: "HTTP-Redirect",
      claimsMaxAgeSeconds: 36_000,
      certificates: [pem.trim()],
    },
  ]);
});

test.each([
  ["no entry point", { entryPoint: undefined }, "providers[0].entryPoint"],
  ["no certificate", { certificates: undefined }, "providers[0].certificates"],
  ["plain http", { entryPoint: "http://acme.okta.com/sso" }, "providers[0].entryPoint"],
  ["a weak certificate", { certificates: [{ file: "weak.pem" }] }, "providers[0].certificates[0].file"],
  ["a file without a certificate", { certificates: [{ file: "none.pem" }] }, "providers[0].certificates[0].file"],
  ["no such file", { certificates: [{ file: "gone.pem" }] }, "providers[0].certificates[0].file"],
  ["a field of the other protocol", { clientId: "x" }, "providers[0].clientId"],
  ["metadata of nowhere", { metadata: {} }, "providers[0].metadata"],
  [
    "metadata at a URL that nobody vouches for",
    { certificates: undefined, metadata: { url: "https://x.example" } },
    "providers[0].metadata",
  ],
  ["metadata by plain http", { metadata: { url: "http://x.example" } }, "providers[0].metadata.url"],
  ["a metadata file that is not there", { metadata: { file: "gone.xml" } }, "providers[0].metadata.file"],
  [
    "a signer beside a file",
    { metadata: { file: "okta.pem", signedBy: [{ file: "okta.pem" }] } },
    "providers[0].metadata.signedBy",
  ],
  [
    "an Entra ID tenant that is none",
    { kind: "entra", issuer: "https://sts.windows.net/common/" },
    "providers[0].issuer",
  ],
  [
    "another subject at Entra ID",
    { kind: "entra", issuer: `https://sts.windows.net/${TENANT}/`, subjectClaim: "mail" },
    "providers[0].subjectClaim",
  ],
  ["another protocol", { protocol: "ws-fed" }, "providers[0].protocol"],
])("%s is a fault", (_name, over, path) => {
  expect(faults(...of(over)).map((fault) => fault.path)).toEqual([path]);
});

test("a directory that is shared with OpenID Connect needs the same subject", () => {
  const [config, env, files] = of({});
  const oidc = (changed("x", 1)["providers"] as object[])[0];
  const both = (over: object): object => ({
    ...(config as object),
    providers: [oidc, { ...saml, directory: "okta", ...over }],
  });
  expect(faults(both({}), env, files)).toMatchObject([{ path: "providers[1].directory" }]);
  expect(faults(both({ subjectClaim: "sub" }), env, files)).toEqual([]);
});

test("so does each provider that shares it, whichever comes first", () => {
  const [config, env, files] = of({});
  const oidc = (changed("x", 1)["providers"] as object[])[0];
  const named = { ...saml, id: "named", directory: "okta", subjectClaim: "sub" };
  const byNameId = { ...saml, directory: "okta" };
  const pathsOf = (...providers: unknown[]): string[] =>
    faults({ ...(config as object), providers }, env, files).map(({ path }) => path);
  expect(pathsOf(named, oidc, byNameId)).toEqual(["providers[2].directory"]);
  expect(pathsOf(named, byNameId)).toEqual(["providers[1].directory"]);
  expect(pathsOf(byNameId, named)).toEqual(["providers[1].directory"]);
  expect(pathsOf(byNameId, { ...byNameId, id: "second" })).toEqual([]);
});
