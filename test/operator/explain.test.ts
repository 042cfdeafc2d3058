import { describe, expect, it } from "vitest";
import { explain } from "../../src/operator/explain.ts";
import { configFolder, productionConfig } from "../support/config-file.ts";
import { recordingIo } from "../support/operator-io.ts";

interface Ended {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

const person = { sub: "00u1", email: "Jane@acme.example", email_verified: true, groups: ["bedrock-search"] };

async function run(
  claims: string | object,
  over: { provider?: string; json?: boolean; config?: object } = {},
): Promise<Ended> {
  using folder = configFolder();
  const io = recordingIo({});
  const code = await explain(
    {
      config: folder.write("rolecall.yaml", over.config ?? productionConfig()),
      claims: folder.write("claims.json", typeof claims === "string" ? claims : JSON.stringify(claims)),
      provider: over.provider ?? "okta",
      json: over.json ?? false,
    },
    io,
  );
  return { code, stdout: io.stdout(), stderr: io.stderr() };
}

describe("rolecall-broker explain", () => {
  it.each(["okta", "entra", "auth0"])(
    "gives tags and trace for the example claims of %s, without a secret",
    async (kind) => {
      const io = recordingIo({});
      const options = {
        config: `examples/${kind}.yaml`,
        provider: kind,
        claims: `examples/claims/${kind}.json`,
        json: true,
      };
      expect(await explain(options, io)).toBe(0);
      expect(JSON.parse(io.stdout())).toMatchObject({
        email: "jane@acme.example",
        sessionName: "jane@acme.example",
        tags: { team: "search", "cost-centre": "cc-1042" },
      });
    },
  );

  it("takes a SAML provider's attributes as they are sent", async () => {
    using folder = configFolder();
    const io = recordingIo({});
    const tenant = "3f6d1c0a-9b42-4f6e-8a57-c1d2e3f4a5b6";
    const oid = "6a5d2c14-03b7-4b7d-9b0e-7f1a2c3d4e01";
    folder.write("idp.xml", "not read here");
    const provider = {
      id: "entra",
      kind: "entra",
      protocol: "saml",
      issuer: `https://sts.windows.net/${tenant}/`,
      metadata: { file: "idp.xml" },
      emailDomains: ["acme.example"],
    };
    const claims = {
      NameID: "jane",
      "http://schemas.microsoft.com/identity/claims/tenantid": tenant,
      "http://schemas.microsoft.com/identity/claims/objectidentifier": oid,
      "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress": "jane@acme.example",
      "http://schemas.microsoft.com/ws/2008/06/identity/claims/groups": "bedrock-search",
    };
    const options = {
      config: folder.write("rolecall.yaml", { ...productionConfig(), providers: [provider] }),
      claims: folder.write("claims.json", JSON.stringify(claims)),
      provider: "entra",
      json: true,
    };
    expect(await explain(options, io)).toBe(0);
    expect(JSON.parse(io.stdout())).toMatchObject({ subject: `${tenant}/${oid}`, tags: { team: "search" } });
  });

  it("shows who, tags, and what became of every rule", async () => {
    const { code, stdout, stderr } = await run(person);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout.split("\n").map((line) => line.split(/ {2,}/))).toEqual([
      ["provider", "okta"],
      ["directory", "okta"],
      ["subject", "00u1"],
      ["email", "Jane@acme.example"],
      ["session name", "jane@acme.example"],
      [""],
      ["TAG", "VALUE"],
      ["team", "search"],
      [""],
      ["TAG", "RULE", "CLAIM", "OUTCOME", "VALUE"],
      ["team", "from[0]", "groups", "spoke", "search"],
      [""],
    ]);
  });

  it("says code, sentence, remedy and trace where a required tag is missing", async () => {
    const { code, stdout, stderr } = await run({ ...person, groups: ["everyone"] });
    expect(code).toBe(1);
    expect(stdout).toMatch(/^team +from\[0\] +groups +no match$/m);
    expect(stdout).not.toMatch(/^TAG +VALUE$/m);
    expect(stderr).toMatch(/^refused: tag_missing: tag team: .*\nYour directory entry .*\nhint: .*\n$/);
  });

  it("says so in JSON too", async () => {
    const { code, stdout, stderr } = await run({ ...person, groups: ["everyone"] }, { json: true });
    expect({ code, stderr }).toEqual({ code: 1, stderr: "" });
    expect(JSON.parse(stdout)).toMatchObject({
      sessionName: "jane@acme.example",
      trace: [{ tag: "team", outcome: "no match" }],
      refused: { code: "tag_missing", status: 403 },
    });
  });

  it("refuses whom a sign-in would refuse", async () => {
    const { code, stdout, stderr } = await run({ ...person, email_verified: false });
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/^refused: email_unverified: /);
  });

  it.each(["sub", "email", "groups", "name"])(
    "writes no control character of the claim %s to the terminal",
    async (name) => {
      const { stdout, stderr } = await run({ ...person, [name]: "bedrock-search\u001b[2J\u202e" });
      expect(stdout + stderr).not.toMatch(/(?!\n)\p{C}/u);
    },
  );

  const files: [name: string, claims: string, message: RegExp][] = [
    ["no JSON", "{", /is not JSON\nhint: /],
    ["a list", "[]", /must hold one JSON object\nhint: /],
    ["null", "null", /must hold one JSON object\nhint: /],
    ["nothing", "", /is not JSON\nhint: /],
  ];
  it.each(files)("tells of a claims file that holds %s", async (_name, claims, message) => {
    const { code, stdout, stderr } = await run(claims);
    expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(message);
  });

  it("tells of a claims file that isn't there", async () => {
    const io = recordingIo({});
    const options = { config: "examples/okta.yaml", provider: "okta", claims: "/nowhere.json", json: false };
    expect(await explain(options, io)).toBe(1);
    expect(io.stderr()).toMatch(/^\/nowhere\.json: can't be read \(ENOENT\)\nhint: /);
  });

  it("takes a provider that isn't configured for wrong usage", async () => {
    const { code, stderr } = await run(person, { provider: "entra" });
    expect(code).toBe(2);
    expect(stderr).toMatch(/no provider with that id\nhint: choose one of okta\n$/);
  });

  it("tells the configuration's faults", async () => {
    const { code, stderr } = await run(person, { config: { ...productionConfig(), tags: { team: { from: [] } } } });
    expect(code).toBe(1);
    expect(stderr).toMatch(/tags\.team\.from: needs one source/);
  });
});
