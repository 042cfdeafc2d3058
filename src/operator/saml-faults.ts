import { X509Certificate } from "node:crypto";
import type { Config, SamlProvider } from "../config/config.ts";
import type { ConfigFault } from "../config/config-error.ts";
import { asRefusal } from "../flow/errors.ts";
import { idpFacts } from "../idp/saml/idp-metadata.ts";

/**
 * What would refuse everybody's first sign-in by SAML: certificates that are not valid at `now` (epoch milliseconds), and
 * metadata files that the broker could not use. Asks nobody: metadata at a URL is looked at by the broker alone.
 */
export async function samlFaults({ providers, environment }: Config, now: number): Promise<ConfigFault[]> {
  const faults = providers.map(async (provider, i) => {
    if (provider.protocol === "oidc") return [];
    const path = `providers[${i}]`;
    const ofCertificates = [
      ...outOfTime(`${path}.certificates`, provider.certificates, now),
      ...outOfTime(`${path}.metadata.signedBy`, signersOf(provider), now),
    ];
    // Configured certificates stand before the file's own: it would be refused for their fault.
    if (ofCertificates.length > 0) return ofCertificates;
    return metadataFaults(`${path}.metadata.file`, provider, environment === "development", now);
  });
  return (await Promise.all(faults)).flat();
}

function signersOf({ metadata }: SamlProvider): readonly string[] {
  return metadata && "url" in metadata ? metadata.signedBy : [];
}

function outOfTime(path: string, certificates: readonly string[], now: number): ConfigFault[] {
  return certificates.flatMap((pem) => {
    const { validFromDate, validToDate } = new X509Certificate(pem);
    const said = (what: string, date: Date): ConfigFault[] => [
      {
        path,
        message: `has a certificate that ${what} (${date.toISOString().slice(0, 10)}): put the current one there`,
      },
    ];
    if (validToDate.getTime() <= now) return said("has expired", validToDate);
    return validFromDate.getTime() > now ? said("is not valid yet", validFromDate) : [];
  });
}

/** By the very steps that the broker takes at a sign-in. */
async function metadataFaults(
  path: string,
  provider: SamlProvider,
  allowLoopbackHttp: boolean,
  now: number,
): Promise<ConfigFault[]> {
  if (!provider.metadata || "url" in provider.metadata) return [];
  try {
    await idpFacts(provider, allowLoopbackHttp, () => now)();
    return [];
  } catch (error) {
    return [{ path, message: asRefusal(error).message }];
  }
}
