import { z } from "zod";
import { duration, id, secretReference, url } from "./fields.ts";

/** What every provider says, whichever protocol it speaks. */
const anyProvider = {
  id: id.meta({ description: "Stands in URLs, sessions and the ledger. Choose once." }),
  kind: z
    .enum(["okta", "entra", "auth0", "generic"])
    .meta({ description: "What its claims look like, and which checks it needs." }),
  directory: id
    .optional()
    .meta({ description: "Providers that speak for the same people share one. Left out: the provider's id." }),
  label: z.string().min(1).max(64).optional().meta({ description: "What people read on the sign-in page." }),
  organization: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "Auth0 only: the organization (org_…) that sign-ins are pinned to." }),
  emailDomains: z
    .array(z.string().regex(/^(?:[a-z0-9-]+\.)+[a-z0-9-]+$/, "must be a domain in lower case"))
    .min(1)
    .meta({ description: "The only domains that this provider may speak for." }),
};

const oidcProvider = z.strictObject({
  ...anyProvider,
  protocol: z.literal("oidc").meta({ description: "How people sign in there: OpenID Connect." }),
  issuer: url.meta({ description: "Exactly as the provider writes it, a slash at the end included." }),
  clientId: z.string().min(1).meta({ description: "The client that was registered for Rolecall." }),
  clientAuth: z
    .enum(["client_secret_basic", "client_secret_post", "private_key_jwt"])
    .default("client_secret_basic")
    .meta({ description: "How Rolecall proves to the provider that it is that client." }),
  clientSecret: secretReference
    .optional()
    .meta({ description: "For client_secret_basic and client_secret_post: where the secret is." }),
  clientKey: secretReference
    .optional()
    .meta({ description: "For private_key_jwt: where the PKCS #8 PEM is; its kid is the RFC 7638 thumbprint." }),
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]+$/, "must be one scope, without spaces"))
    .optional()
    .meta({
      description:
        "What is asked for; openid among them. Left out: openid, email, profile, and, but for generic, offline_access.",
    }),
  claimsMaxAge: duration
    .default("1h")
    .meta({ description: "How long its claims are relied on. After that it is asked again: fresh claims or nothing." }),
});

/** A SAML entity's ID is a URI of 1,024 characters at most (SAML Core 8.3.6). */
const entityId = z.string().min(1).max(1024);

const certificateFile = z.strictObject({
  file: z.string().min(1).meta({ description: "A path: one or more X.509 certificates, PEM." }),
});

const samlProvider = z.strictObject({
  ...anyProvider,
  protocol: z.literal("saml").meta({ description: "How people sign in there: SAML 2.0." }),
  issuer: entityId.meta({ description: "The identity provider's entity ID, exactly as its Issuer elements have it." }),
  entryPoint: url
    .optional()
    .meta({ description: "Where people are sent to (SingleSignOnService). Left out: the metadata says it." }),
  certificates: z.array(certificateFile).min(1).optional().meta({
    description: "The provider's signing certificates, several while one replaces another. Left out: the metadata's.",
  }),
  metadata: z
    .strictObject({
      file: z.string().min(1).optional().meta({ description: "A path." }),
      url: url.optional().meta({ description: "Read at the first sign-in and every hour; the last good one is kept." }),
      signedBy: z.array(certificateFile).min(1).optional().meta({
        description: "Certificates of which one must have signed the metadata at the URL.",
      }),
    })
    .optional()
    .meta({ description: "The identity provider's metadata: a file, or a URL that is checked by a certificate." }),
  spEntityId: entityId
    .optional()
    .meta({ description: "Rolecall's own entity ID at this provider. Left out: BASE/login/ID/metadata." }),
  requestBinding: z
    .enum(["HTTP-Redirect", "HTTP-POST"])
    .default("HTTP-Redirect")
    .meta({ description: "How the request for a sign-in goes to the provider." }),
  wantResponseSigned: z
    .boolean()
    .default(true)
    .meta({ description: "Response and Assertion signed. false: the Assertion alone; its price is in the docs." }),
  forceAuthn: z
    .boolean()
    .default(false)
    .meta({ description: "People prove who they are at each sign-in, also while signed in at the provider." }),
  subjectClaim: z
    .string()
    .min(1)
    .optional()
    .meta({ description: "The attribute that says who it is, for ever. Left out: a persistent NameID." }),
  claimsMaxAge: duration
    .default("10h")
    .meta({ description: "How long its claims are relied on. After that the person signs in again." }),
});

export const provider = z.discriminatedUnion("protocol", [oidcProvider, samlProvider]);
