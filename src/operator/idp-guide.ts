import { X509Certificate } from "node:crypto";
import { fileURLToPath } from "node:url";
import { Eta } from "eta";
import type { Config, OidcProvider, ProviderConfig, SamlProvider } from "../config/config.ts";
import { attributeOf, neededClaims, type NeededClaim } from "./idp-claims.ts";
import { TemplateError } from "./template-error.ts";

const eta = new Eta({
  views: fileURLToPath(new URL("../../templates", import.meta.url)),
  // For HTML. Here, every value is written as Markdown's code by `code`.
  autoEscape: false,
  autoTrim: false,
  cache: true,
});

/** What a template of `templates/idp` reads; every text of the configuration goes through `code` or `table`. */
interface GuideFacts {
  /** Undefined: the configuration has no provider of that kind and protocol. */
  readonly id: string | undefined;
  readonly values: Readonly<Record<string, string>>;
  readonly flags: Readonly<Record<string, boolean>>;
  readonly claims: readonly NeededClaim[];
  /** The names, as the provider has to send them, of the claims that no rule reads, but Rolecall itself does. */
  readonly attribute: (claim: string) => string;
  readonly code: (value: string) => string;
  readonly table: (rows: readonly (readonly [string, string])[]) => string;
  readonly json: (value: unknown) => string;
}

/**
 * How to set up Rolecall at an identity provider, in Markdown: each screen's fields with this installation's own values, for each
 * provider of that kind and protocol (with `only`: the one of that ID). Where the configuration has none, what is still
 * to be chosen is written so. Throws {@link TemplateError} where `only` is not such a provider.
 */
export function idpGuide(
  kind: ProviderConfig["kind"],
  protocol: ProviderConfig["protocol"],
  config: Config,
  only?: string,
): string {
  const all = config.providers.filter((provider) => provider.kind === kind && provider.protocol === protocol);
  const chosen = only === undefined ? all : all.filter(({ id }) => id === only);
  if (only !== undefined && chosen.length === 0)
    throw new TemplateError(`no provider of kind ${kind} and protocol ${protocol} has that id`);
  const facts =
    chosen.length === 0 ? [unconfigured(config, kind, protocol)] : chosen.map((each) => configured(config, each));
  return facts.map((it) => eta.render(`./idp/${kind}-${protocol}.md`, it)).join("\n");
}

const TO_BE_CHOSEN = "(to be chosen)";

function configured(config: Config, provider: ProviderConfig): GuideFacts {
  const own = provider.protocol === "oidc" ? oidcFacts(provider) : samlFacts(provider);
  const { id, kind, issuer, organization, directory, emailDomains } = provider;
  const values = { issuer, directory, organization: organization ?? "", emailDomains: emailDomains.join(", ") };
  return facts(config, kind, id, {
    values: { ...values, ...own.values },
    flags: { organization: organization !== undefined, ...own.flags },
  });
}

function oidcFacts({ clientId, clientAuth, scopes }: OidcProvider): Pick<GuideFacts, "values" | "flags"> {
  return {
    values: { clientId, clientAuth: clientAuth.method, scopes: scopes.join(" ") },
    flags: { refresh: scopes.includes("offline_access"), key: clientAuth.method === "private_key_jwt" },
  };
}

function samlFacts(provider: SamlProvider): Pick<GuideFacts, "values" | "flags"> {
  const { spEntityId, entryPoint, certificates, requestBinding, subjectClaim, metadata } = provider;
  const known = metadata && "url" in metadata ? metadata.url : "the metadata file";
  return {
    values: {
      spEntityId,
      entryPoint: entryPoint ?? `as in ${known}`,
      certificates: certificates.map(fingerprint).join(", ") || `as in ${known}`,
      requestBinding,
      subjectClaim: subjectClaim ?? "",
    },
    flags: {
      subjectClaim: subjectClaim !== undefined,
      responseSigned: provider.wantResponseSigned,
      forceAuthn: provider.forceAuthn,
    },
  };
}

/** As consoles show it beside a certificate. */
function fingerprint(pem: string): string {
  const { fingerprint256, validTo } = new X509Certificate(pem);
  return `SHA-256 ${fingerprint256}, until ${new Date(validTo).toISOString().slice(0, 10)}`;
}

function unconfigured(config: Config, kind: ProviderConfig["kind"], protocol: ProviderConfig["protocol"]): GuideFacts {
  const names = ["issuer", "directory", "organization", "emailDomains", "entryPoint", "certificates", "clientId"];
  return facts(config, kind, undefined, {
    values: {
      ...Object.fromEntries(names.map((name) => [name, TO_BE_CHOSEN])),
      spEntityId: `${config.baseUrl}/login/ID/metadata`,
      clientAuth: "client_secret_basic",
      scopes: "openid email profile offline_access",
      requestBinding: "HTTP-Redirect",
      subjectClaim: "",
    },
    flags: { refresh: protocol === "oidc" && kind !== "generic", responseSigned: true },
  });
}

function facts(
  config: Config,
  kind: ProviderConfig["kind"],
  id: string | undefined,
  { values, flags }: Pick<GuideFacts, "values" | "flags">,
): GuideFacts {
  const login = `${config.baseUrl}/login/${id ?? "ID"}`;
  return {
    id,
    values: {
      id: id ?? TO_BE_CHOSEN,
      login,
      callback: `${login}/callback`,
      acs: `${login}/acs`,
      slo: `${login}/slo`,
      metadata: `${login}/metadata`,
      ...values,
    },
    flags,
    claims: neededClaims(config, kind, id),
    attribute: (claim) => attributeOf(kind, claim),
    code,
    table,
    json: (value) => JSON.stringify(value, null, 2),
  };
}

/** A Markdown code span of exactly that text (CommonMark 6.1): its fence is longer than any in the text. */
function code(value: string): string {
  const longest = Math.max(0, ...(value.match(/`+/g) ?? []).map(({ length }) => length));
  const fence = "`".repeat(longest + 1);
  return longest === 0 ? `${fence}${value}${fence}` : `${fence} ${value} ${fence}`;
}

/** A table of fields and what goes into them; a bar within a cell is escaped, also in code (GitHub Flavored Markdown 4.10). */
function table(rows: readonly (readonly [string, string])[]): string {
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll(/\s+/g, " ")).join(" | ")} |\n`;
  return [line(["field", "value"]), line(["---", "---"]), ...rows.map(line)].join("");
}
