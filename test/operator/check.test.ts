import { beforeAll, describe, expect, it } from "vitest";
import { check } from "../../src/operator/check.ts";
import { idpMetadataXml } from "../../src/sandbox/saml/idp-metadata.ts";
import { newSamlIdpKey } from "../../src/sandbox/saml/key.ts";
import { changed, configFolder, productionConfig, productionEnv } from "../support/config-file.ts";
import { recordingIo } from "../support/operator-io.ts";

describe("rolecall-broker check", () => {
  it("says ok, what would be served, and ends with 0", async () => {
    using folder = configFolder();
    const io = recordingIo(productionEnv);
    expect(await check({ config: folder.write("rolecall.yaml", productionConfig()), json: false }, io)).toBe(0);
    expect(io.stdout()).toMatch(/^ok\n/);
    expect(io.stdout()).toContain("https://rolecall.acme.example/federation");
    expect(io.stdout()).toContain("okta (okta, https://acme.okta.com)");
    expect(io.stdout()).toContain("team (required)");
    expect(io.stdout()).not.toMatch(/okta-secret|redis-secret/);
    expect(io.stderr()).toBe("");
  });

  it("tells every fault on a line of its own, a hint, and ends with 1", async () => {
    using folder = configFolder();
    const config = folder.write("rolecall.yaml", { ...productionConfig(), baseUrl: "http://rolecall.acme.example" });
    const io = recordingIo({});
    expect(await check({ config, json: false }, io)).toBe(1);
    expect(io.stdout()).toBe("");
    expect(io.stderr().split("\n")).toEqual([
      `${config}: baseUrl: must be https in production`,
      `${config}: providers[0].clientSecret: the environment variable OKTA_CLIENT_SECRET is not set`,
      `${config}: redis.url: the environment variable REDIS_URL is not set`,
      `3 faults in ${config}`,
      "hint: every field is described in docs/configuration.md, whole files are in examples/",
      "",
    ]);
  });

  it("speaks JSON either way", async () => {
    using folder = configFolder();
    const config = folder.write("rolecall.yaml", productionConfig());
    const good = recordingIo(productionEnv);
    expect(await check({ config, json: true }, good)).toBe(0);
    expect(JSON.parse(good.stdout())).toMatchObject({ ok: true, faults: [] });
    const bad = recordingIo({ REDIS_URL: "redis://r" });
    expect(await check({ config, json: true }, bad)).toBe(1);
    expect(JSON.parse(bad.stdout())).toEqual({
      ok: false,
      faults: [
        { path: "providers[0].clientSecret", message: "the environment variable OKTA_CLIENT_SECRET is not set" },
      ],
    });
    expect(bad.stderr()).toBe("");
  });

  it("tells of a file that isn't there", async () => {
    const io = recordingIo({});
    expect(await check({ config: "/nowhere/rolecall.yaml", json: false }, io)).toBe(1);
    expect(io.stderr()).toMatch(
      /^\/nowhere\/rolecall\.yaml: can't be read \(ENOENT\): name it with --config\n1 fault in/,
    );
  });
});

describe("rolecall-broker check looks at SAML before anybody signs in", () => {
  const ENTITY = "http://www.okta.com/exk1";
  const NOW = Date.parse("2026-11-22T12:00:00Z");
  let current: string;
  let expired: string;
  let weak: string;
  beforeAll(async () => {
    current = (await newSamlIdpKey()).certificate;
    expired = (await newSamlIdpKey({ notAfter: new Date("2025-03-04T00:00:00Z") })).certificate;
    weak = (await newSamlIdpKey({ bits: 1024 })).certificate;
  });

  /** The faults of a provider with these fields; `idp.xml` is its metadata, `idp.pem` a certificate. */
  async function faultsOf(
    over: object,
    files: { xml?: string; pem?: string },
    now = NOW,
  ): Promise<{ code: number; faults: { path: string; message: string }[] }> {
    using folder = configFolder();
    folder.write("idp.xml", files.xml ?? "");
    folder.write("idp.pem", files.pem ?? current);
    const provider = { id: "okta", kind: "okta", protocol: "saml", issuer: ENTITY, emailDomains: ["acme.example"] };
    const config = folder.write("rolecall.yaml", changed("providers", [{ ...provider, ...over }]));
    const io = recordingIo(productionEnv);
    const code = await check({ config, json: true }, io, now);
    return { code, ...(JSON.parse(io.stdout()) as { faults: { path: string; message: string }[] }) };
  }

  const byCertificate = { entryPoint: "https://acme.okta.com/sso", certificates: [{ file: "idp.pem" }] };
  const byFile = { metadata: { file: "idp.xml" } };
  const metadata = (over: Partial<Parameters<typeof idpMetadataXml>[0]> = {}): string =>
    idpMetadataXml({ entityId: ENTITY, entryPoint: "https://acme.okta.com/sso", certificates: [current], ...over });

  it("takes a certificate and metadata that are good now", async () => {
    expect(await faultsOf(byCertificate, {})).toMatchObject({ code: 0, faults: [] });
    expect(await faultsOf(byFile, { xml: metadata() })).toMatchObject({ code: 0, faults: [] });
    expect(await faultsOf(byFile, { xml: metadata({ certificates: [expired, current] }) })).toMatchObject({ code: 0 });
  });

  it.each<[string, () => Parameters<typeof faultsOf>, string, RegExp]>([
    ["expired", () => [byCertificate, { pem: expired }], "certificates", /has expired \(2025-03-04\): put the current/],
    ["expired, beside a good one", () => [byCertificate, { pem: `${current}\n${expired}` }], "certificates", /expired/],
    ["of later", () => [byCertificate, {}, Date.parse("2019-01-01")], "certificates", /not valid yet \(2020-01-01\)/],
    ["too weak", () => [byCertificate, { pem: weak }], "certificates[0].file", /2048/],
    [
      "expired, of who signs the metadata at a URL",
      () => [
        { metadata: { url: "https://acme.okta.com/metadata", signedBy: [{ file: "idp.pem" }] } },
        { pem: expired },
      ],
      "metadata.signedBy",
      /has expired/,
    ],
  ])("a certificate that is %s", async (_name, given, path, message) => {
    expect(await faultsOf(...given())).toEqual({
      code: 1,
      ok: false,
      faults: [{ path: `providers[0].${path}`, message: expect.stringMatching(message) as string }],
    });
  });

  it.each<[string, () => string, RegExp]>([
    ["HTML", () => "<!doctype html><html><body>Sign in</body></html>", /can't be trusted/],
    ["no XML", () => "{}", /can't be trusted/],
    ["empty", () => "", /can't be trusted/],
    ["of another entity", () => metadata({ entityId: "urn:other" }), /another entityID than the issuer/],
    [
      "of two entities",
      () => {
        const one = metadata().replace(/^<\?[^>]*>/, "");
        return `<EntitiesDescriptor xmlns="urn:oasis:names:tc:SAML:2.0:metadata">${one}${one}</EntitiesDescriptor>`;
      },
      /not that of one entity/,
    ],
    ["expired", () => metadata({ validUntil: new Date("2026-01-01T00:00:00Z") }), /has expired/],
    [
      "with certificates that have expired",
      () => metadata({ certificates: [expired] }),
      /every certificate .* expired/,
    ],
    ["with a weak certificate", () => metadata({ certificates: [current, weak] }), /2048 bits/],
    ["without a certificate", () => metadata({ certificates: [] }), /certificate/],
    ["that sends people to plain http", () => metadata({ entryPoint: "http://acme.okta.com/sso" }), /not https/],
    ["without where to go", () => metadata().replaceAll("HTTP-Redirect", "SOAP"), /no SingleSignOnService/],
  ])("a metadata file that is %s", async (_name, xml, message) => {
    expect(await faultsOf(byFile, { xml: xml() })).toEqual({
      code: 1,
      ok: false,
      faults: [{ path: "providers[0].metadata.file", message: expect.stringMatching(message) as string }],
    });
  });

  it("asks nobody: metadata at a URL is the running broker's to read", async () => {
    const url = "https://nowhere.invalid/metadata";
    expect(await faultsOf({ ...byCertificate, metadata: { url } }, {})).toMatchObject({ code: 0 });
  });
});
