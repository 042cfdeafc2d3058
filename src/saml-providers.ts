import type { Config } from "./config/config.ts";
import type { SamlProviderPorts } from "./http/saml.ts";
import type { LoginStates } from "./idp/login-state.ts";
import { samlClient } from "./idp/saml/saml.ts";
import type { SamlSessions } from "./idp/saml/saml-sessions.ts";
import { SamlStrategy } from "./idp/saml/strategy.ts";
import { openSamlKeys } from "./keys/saml-key-file.ts";

interface SamlProvidersParts {
  readonly loginStates: LoginStates;
  readonly sessions: SamlSessions;
  /** The claims that rules read now, for the provider of that ID. */
  readonly paths: (id: string) => Iterable<string>;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/**
 * Each SAML provider's strategy, and its other addresses. The broker's SAML keys are made where there is such a provider
 * and no key yet; rejects with a KeyFileError where they can't be used.
 */
export async function samlProviders(
  config: Config,
  { loginStates, sessions, paths, now }: SamlProvidersParts,
): Promise<{ id: string; strategy: SamlStrategy; ports: SamlProviderPorts }[]> {
  const providers = config.providers.filter((provider) => provider.protocol === "saml");
  if (providers.length === 0) return [];
  const keys = await openSamlKeys(config.stateDir);
  return providers.map((provider) => {
    const { id } = provider;
    const address = `${config.baseUrl}/login/${id}`;
    const client = samlClient(provider, {
      address,
      keys,
      allowLoopbackHttp: config.environment === "development",
      now,
    });
    const strategy = new SamlStrategy({ client, provider, loginStates, sessions, paths: () => paths(id), now });
    const ports: SamlProviderPorts = {
      metadata: () => client.metadata(),
      logout: async (samlRequest) => sessions.end(id, await client.logout(samlRequest)),
    };
    return { id, strategy, ports };
  });
}
