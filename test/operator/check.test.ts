import { describe, expect, it } from "vitest";
import { check } from "../../src/operator/check.ts";
import { configFolder, productionConfig, productionEnv } from "../support/config-file.ts";
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
