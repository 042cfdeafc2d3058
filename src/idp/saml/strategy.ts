import { randomBytes } from "node:crypto";
import type { Request } from "express";
import { Strategy } from "passport-strategy";
import type { SamlProvider } from "../../config/config.ts";
import { asRefusal } from "../../flow/errors.ts";
import type { Identity } from "../../flow/identity.ts";
import { SignInRefusal } from "../../flow/sign-in.ts";
import { refuse } from "../claim-rules.ts";
import { identityFromClaims, personInClaims } from "../identity.ts";
import type { LoginStates } from "../login-state.ts";
import { requireSameProvider, type SignInInfo, type SignInOptions } from "../strategy.ts";
import type { BegunSaml, PendingSaml, SamlClient } from "./saml.ts";
import type { SamlSessions } from "./saml-sessions.ts";

export interface SamlStrategyParts {
  readonly client: Pick<SamlClient, "begin" | "finish">;
  readonly provider: SamlProvider;
  readonly loginStates: LoginStates;
  readonly sessions: Pick<SamlSessions, "useOnce" | "begin">;
  /** The claims that rules read for this provider now: the mapping may be reloaded. */
  readonly paths: () => Iterable<string>;
  /** Epoch milliseconds. */
  readonly now: () => number;
}

/**
 * Passport's face of one SAML provider; `name` is the provider's ID. `begin` redirects, succeeds with a form for the browser
 * to post ({@link BegunSaml}), or errs with a Refusal. `finish` takes the form that was posted to the ACS, and ends as {@link OidcStrategy}'s
 * does.
 *
 * passport-saml's own Strategy stands aside: it looks for messages in the query first, reads RelayState as the caller sends it,
 * and answers a LogoutRequest wherever one comes. Its SAML class is what signs and verifies (`saml.ts`).
 */
export class SamlStrategy extends Strategy {
  readonly name: string;
  // Passport calls through Object.create(strategy), on which #private members don't exist.
  private readonly parts: SamlStrategyParts;

  constructor(parts: SamlStrategyParts) {
    super();
    this.name = parts.provider.id;
    this.parts = parts;
  }

  override authenticate(req: Request, options: SignInOptions): void {
    if (options.step === "begin") {
      beginSignIn(this.parts, options).then(
        (begun) => {
          if ("url" in begun) this.redirect(begun.url);
          else this.success(begun);
        },
        (error: unknown) => {
          this.error(asRefusal(error));
        },
      );
    } else {
      finishSignIn(this.parts, formOf(req), options.browser).then(
        ({ identity, ...info }) => {
          this.success(identity, info);
        },
        (error: unknown) => {
          this.error(error as SignInRefusal);
        },
      );
    }
  }
}

async function beginSignIn(
  { client, loginStates, provider }: SamlStrategyParts,
  { next, browser, replaces }: { next: string; browser: string; replaces?: string },
): Promise<BegunSaml> {
  // Our own half of the binding, whatever is wrong with the XML: 43 characters of the 80 that may be (Bindings 3.4.3).
  const state = randomBytes(32).toString("base64url");
  const { begun, pending } = await client.begin(state);
  await loginStates.add({ state, provider: provider.id, next, browser }, { ...pending, replaces });
  return begun;
}

interface PostedForm {
  readonly relayState: string | undefined;
  readonly samlResponse: string | undefined;
}

/**
 * In order: the answer is tied to a sign-in of this browser by its RelayState, and came to the ACS of the provider that was
 * asked; what the provider signed, and that it is the answer to this very request; the Identity; and only then, each in one step and
 * once for ever, the sign-in ends and the assertion is used up, so that no rubbish can end a sign-in. Rejects with a SignInRefusal that says how far it came.
 */
async function finishSignIn(
  parts: SamlStrategyParts,
  { relayState, samlResponse }: PostedForm,
  browser: string | undefined,
): Promise<{ identity: Identity } & SignInInfo> {
  const { provider, client, loginStates, sessions, now } = parts;
  let about: SignInRefusal["about"];
  try {
    if (samlResponse === undefined) refuse("saml_malformed", "the form has not one SAMLResponse");
    if (relayState === undefined || relayState === "") refuse("saml_unsolicited", "there is no RelayState of ours");
    const pending = await loginStates.find<PendingSaml & Pick<SignInInfo, "replaces">>(relayState, browser);
    about = { provider: pending.provider };
    requireSameProvider(provider, pending);
    about = { provider: provider.id, directory: provider.directory };
    const { claims, subject } = await client.finish(samlResponse, pending);
    about = personInClaims(provider, claims);
    const identity = identityFromClaims(provider, claims, parts.paths(), now());
    await sessions.useOnce(provider.id, subject);
    await loginStates.take(relayState, browser);
    const { next, replaces } = pending;
    return { identity: await sessions.begin(identity, subject), next, ...(replaces !== undefined && { replaces }) };
  } catch (error) {
    throw new SignInRefusal(asRefusal(error), about);
  }
}

/** A field that came twice is none: express's parser makes a list of it. */
function formOf(req: Request): PostedForm {
  const form = (req.body ?? {}) as Readonly<Record<string, unknown>>;
  const textOf = (value: unknown): string | undefined => (typeof value === "string" ? value : undefined);
  return { relayState: textOf(form["RelayState"]), samlResponse: textOf(form["SAMLResponse"]) };
}
