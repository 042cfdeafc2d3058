import { createPrivateKey, createPublicKey, type KeyObject } from "node:crypto";
import { calculateJwkThumbprint, importPKCS8, type JWK } from "jose";
import {
  ClientSecretBasic,
  ClientSecretPost,
  PrivateKeyJwt,
  type ClientAuth,
  type ServerMetadata,
} from "openid-client";
import type { OidcProvider } from "../config/config.ts";

/** How the client proves itself at one provider's token endpoint, by what that provider's metadata says it takes. */
export type ClientAuthentication = (metadata: ServerMetadata) => Promise<ClientAuth>;

/**
 * The configured method, and no other: openid-client would pick by what it holds. For `private_key_jwt` the key's type
 * gives the algorithm (P-256: ES256; RSA: RS256, or PS256 where the provider does not list RS256) and its RFC 7638
 * thumbprint the `kid`. Throws a TypeError for a key of another type.
 */
export function clientAuthentication(auth: OidcProvider["clientAuth"]): ClientAuthentication {
  switch (auth.method) {
    case "client_secret_basic":
      return () => Promise.resolve(ClientSecretBasic(auth.secret));
    case "client_secret_post":
      return () => Promise.resolve(ClientSecretPost(auth.secret));
    case "private_key_jwt":
      return privateKeyJwt(auth.key);
  }
}

function privateKeyJwt(pem: string): ClientAuthentication {
  const algorithms = algorithmsOf(createPrivateKey(pem));
  return async (metadata) => {
    const taken = metadata.token_endpoint_auth_signing_alg_values_supported;
    const algorithm = algorithms.find((name) => taken?.includes(name)) ?? algorithms[0];
    const publicJwk = createPublicKey(pem).export({ format: "jwk" }) as JWK;
    return PrivateKeyJwt({
      key: await importPKCS8(pem, algorithm),
      kid: await calculateJwkThumbprint(publicJwk),
    });
  };
}

function algorithmsOf(key: KeyObject): readonly [string, ...string[]] {
  if (key.asymmetricKeyType === "rsa") return ["RS256", "PS256"];
  if (key.asymmetricKeyType === "ec" && key.asymmetricKeyDetails?.namedCurve === "prime256v1") return ["ES256"];
  throw new TypeError("the client key must be an RSA or a P-256 key");
}
