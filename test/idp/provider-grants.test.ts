import { expect, test } from "vitest";
import { ProviderGrants } from "../../src/idp/provider-grants.ts";
import { memoryStore } from "../../src/store/memory.ts";
import { janeOf } from "../support/web.ts";

test("a sign-in that its provider ended is known to have ended by whoever holds it, and no other one is", async () => {
  const grants = new ProviderGrants(memoryStore(), { signInMaxAgeSeconds: 43_200, now: Date.now });
  const [one, other] = await Promise.all(
    [janeOf("okta"), janeOf("okta")].map((identity) =>
      grants.hold(identity, { refreshToken: "r", sub: "00u1", nonce: "n" }),
    ),
  );
  if (!one || !other) throw new Error("not held");
  await grants.requireNotEnded(one);
  await grants.end(one);
  await expect(grants.requireNotEnded(one)).rejects.toMatchObject({ code: "sign_in_revoked" });
  await grants.requireNotEnded(other);
  await grants.requireNotEnded(janeOf("okta"));
});
