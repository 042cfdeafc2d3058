import type { KeyChange } from "../keys/key-changes.ts";
import { TAKEN_AFTER, type KeyStanding, type KeyUse } from "../keys/key-states.ts";
import type { StoredKey } from "../keys/stored-keys.ts";

const HOUR = 60 * 60 * 1000;

/** What a withdrawn key costs, and what it does not stop by itself. */
const AFTER_REVOKING: Readonly<Record<KeyUse, string>> = {
  federation: `AWS may take what this key signed for as long as it caches the published keys, and nobody says how long.
If the key may be in other hands: replace the OIDC provider in IAM, and deny the sessions it may have begun by aws:TokenIssueTime.
`,
  saml: `AWS takes what this key signed until another metadata document is uploaded: deploy template aws/role again, at once.
If the key may be in other hands: delete the SAML provider in IAM first, and deny the sessions it may have begun by aws:TokenIssueTime.
`,
  oauth: "ID tokens by this key are not verified any more; grants and access tokens go on.\n",
  cookies: "Browsers with a cookie by this key sign in again; the command line's sign-ins go on.\n",
  sealing: "What it sealed in the store is lost: everybody signs in again.\n",
};

/** AWS takes assertions by the keys of the uploaded metadata, and only an operator knows when that is done. */
const BEFORE_ACTIVATING = `Now give AWS both certificates: deploy rolecall-broker template aws/role again.
Once that is done: rolecall-broker keys rotate --use saml --activate. Until then the former key signs.
`;

/** What happens by itself from here on, and what somebody must still do. */
export function whatElse(changes: readonly KeyChange[], standing: readonly KeyStanding<StoredKey>[]): string {
  const waiting = changes.flatMap(({ kid, use, to }) => {
    const key = standing.find((it) => it.key.kid === kid && it.key.use === use)?.key;
    if (key === undefined || to !== "prepared") return [];
    if (use === "saml") return [BEFORE_ACTIVATING];
    const hours = TAKEN_AFTER[use] / HOUR;
    return `It becomes active by itself at ${key.activeFrom}; the former one is taken for ${hours} h more.\n`;
  });
  const revoked = changes.flatMap(({ use, to }) => (to === "revoked" ? AFTER_REVOKING[use] : []));
  return `${[...waiting, ...revoked].join("")}Brokers that read this file follow within seconds; copy it to those that have their own.\n`;
}
