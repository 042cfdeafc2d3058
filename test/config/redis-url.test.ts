import { describe, expect, it } from "vitest";
import { parseRedisUrl } from "../../src/config/redis-url.ts";
import { changed, faults, productionConfig, productionEnv, taken } from "../support/config-file.ts";

const nobody = { username: undefined, password: undefined };
const plain = { ...nobody, sentinel: undefined, database: 0, tls: false, ca: undefined, replicas: 0 };

describe("redis.url", () => {
  const forms: [url: string, parts: object][] = [
    ["redis://redis", { ...plain, form: "one", hosts: [{ host: "redis", port: 6379 }] }],
    ["redis://:hunter2@redis:6380/3", { password: "hunter2", database: 3, hosts: [{ host: "redis", port: 6380 }] }],
    ["rediss://rolecall:a%40b%2Fc%3Ad@[fd00::1]", { username: "rolecall", password: "a@b/c:d", tls: true }],
    ["rediss://[fd00::1]:7000", { hosts: [{ host: "fd00::1", port: 7000 }] }],
    ["rediss://redis?ca=/etc/rolecall/ca.pem&replicas=1", { tls: true, ca: "/etc/rolecall/ca.pem", replicas: 1 }],
    [
      "redis+sentinel://rolecall:data@s1,s2:26380,s3/rolecall/2?replicas=1&sentinelUser=watcher&sentinelPassword=p%26q",
      {
        form: "sentinel",
        username: "rolecall",
        password: "data",
        hosts: [
          { host: "s1", port: 26_379 },
          { host: "s2", port: 26_380 },
          { host: "s3", port: 26_379 },
        ],
        sentinel: { master: "rolecall", username: "watcher", password: "p&q" },
        database: 2,
        replicas: 1,
      },
    ],
    ["rediss+sentinel://s1/rolecall?replicas=0", { sentinel: { master: "rolecall", ...nobody }, tls: true }],
    [
      "rediss+cluster://:hunter2@c1:7000,c2?replicas=1",
      {
        form: "cluster",
        password: "hunter2",
        hosts: [
          { host: "c1", port: 7000 },
          { host: "c2", port: 6379 },
        ],
        tls: true,
      },
    ],
  ];
  it.each(forms)("%s", (url, parts) => {
    expect(parseRedisUrl(url)).toMatchObject(parts);
    expect(taken(productionConfig(), { ...productionEnv, REDIS_URL: url }).redisUrl).toBe(url);
  });

  const wrong: [name: string, url: string, message: RegExp][] = [
    ["nothing of a URL", "hunter2", /redis\+sentinel:\/\//],
    ["another scheme", "https://hunter2@redis", /rediss:\/\//],
    ["an unknown form", "redis+ring://hunter2@redis", /redis\+cluster:\/\//],
    ["no host", "redis://:hunter2@/0", /rediss:\/\//],
    ["several hosts for one server", "redis://:hunter2@r1,r2", /several hosts/],
    ["a host with a space in it", "redis://:hunter2@a b", /HOST:PORT/],
    ["a port that is none", "redis://:hunter2@redis:70000", /HOST:PORT/],
    ["half an escape", "redis://:hunter2%@redis", /%40/],
    ["a user without a password", "redis://hunter2@redis", /without a password/],
    ["a database that is none", "redis://:hunter2@redis/sessions", /database/],
    ["more path than there is", "redis://:hunter2@redis/0/1", /redis:\/\//],
    ["Sentinels without the primary's name", "redis+sentinel://:hunter2@s1,s2?replicas=1", /\/NAME/],
    [
      "a Sentinel's user without a password",
      "redis+sentinel://s1/rolecall?replicas=1&sentinelUser=x",
      /sentinelPassword/,
    ],
    ["a Cluster's database", "redis+cluster://:hunter2@c1/1?replicas=1", /none but 0/],
    ["Sentinel's password for a Cluster", "redis+cluster://c1?replicas=1&sentinelPassword=hunter2", /parameters/],
    ["a parameter of the library's", "redis://:hunter2@redis?enableOfflineQueue=true", /parameters ca, replicas only/],
    ["one parameter twice", "redis://:hunter2@redis?replicas=0&replicas=1", /each once/],
    ["replicas that are no number", "redis://:hunter2@redis?replicas=all", /0 to 5/],
    ["an authority without TLS", "redis://:hunter2@redis?ca=/ca.pem", /rediss only/],
    ["a relative path", "rediss://:hunter2@redis?ca=ca.pem", /absolute/],
    ["Sentinels that leave open what counts as written", "redis+sentinel://:hunter2@s1/rolecall", /replicas=1/],
    ["a Cluster that leaves it open", "rediss+cluster://:hunter2@c1", /replicas=0/],
  ];
  it.each(wrong)("with %s is a fault, which gives nothing of it away", (_name, url, message) => {
    const found = faults(productionConfig(), { ...productionEnv, REDIS_URL: url });
    expect(found.map(({ path }) => path)).toEqual(["redis.url"]);
    expect(found[0]?.message).toMatch(message);
    expect(found[0]?.message).not.toContain("hunter2");
  });

  it("may leave open in development what counts as written", () => {
    const env = { ...productionEnv, REDIS_URL: "redis+sentinel://s1/rolecall" };
    expect(taken(changed("environment", "development"), env).redisUrl).toBe(env.REDIS_URL);
  });
});
