import { createHash, randomBytes } from "node:crypto";
import { setTimeout as delay } from "node:timers/promises";
import { Browser, type Page } from "../../src/sandbox/browser.ts";
import { personOf } from "../support/company.ts";
import { answerOf, EXPECTED, type Answer } from "./answer.ts";
import type { PersonOfChaos } from "./people.ts";
import type { Random } from "./random.ts";
import { ASKED_AGAIN, type Site } from "./site.ts";
import type { Witness } from "./witness.ts";

/** No answer may take longer, whatever is broken (milliseconds): far above all deadlines of one request together. */
const BOUND = 30_000;

/** What a program that asks for credentials does after a failure: not at once again (milliseconds). */
const AFTER_FAILURE = 150;

/** How often somebody tries before they complain. */
const TRIES = 10;

interface SignedIn {
  readonly browser: Browser;
  readonly accessToken: string;
  readonly refreshToken: string;
  /** {@link Site.losses} when it began. */
  readonly losses: number;
  /** A refresh got no answer: the tokens may be used up (RFC 6749, 10.4: whoever used them twice is cut off). */
  readonly unsure: boolean;
}

/** One machine of one person: signs in, asks for credentials, renews its tokens, and remembers what it got. */
export class Client {
  readonly person: PersonOfChaos;
  readonly #site: Site;
  readonly #witness: Witness;
  readonly #random: Random;
  #signedIn: SignedIn | undefined;

  constructor(site: Site, person: PersonOfChaos, witness: Witness, random: Random) {
    this.#site = site;
    this.person = person;
    this.#witness = witness;
    this.#random = random;
  }

  /** Works until `done`, whatever happens. */
  async work(done: () => boolean): Promise<void> {
    // So that there is always somebody on the way in when something breaks.
    if (this.#random.chance(0.5)) this.#signedIn = undefined;
    while (!done()) {
      const worked = await this.step();
      const pause = worked ? this.#random.between(5, 50) : AFTER_FAILURE;
      await delay(pause);
    }
  }

  /** One thing that a person or their programs do; whether it went through. */
  async step(): Promise<boolean> {
    if (!this.#signedIn || this.#random.chance(0.08)) return await this.signIn();
    const dice = this.#random.next();
    if (dice < 0.08) return await this.#refresh(this.#signedIn);
    if (dice < 0.16) return await this.#look(this.#signedIn);
    if (dice < 0.24) return await this.#whoami(this.#signedIn);
    // As several programs of one person do at one moment.
    const asked = await Promise.all(Array.from({ length: this.#random.between(1, 3) }, () => this.credentials()));
    return asked.some(Boolean);
  }

  /** The whole way: browser, provider, approval, code, tokens. */
  async signIn(): Promise<boolean> {
    const { losses } = this.#site;
    const browser = new Browser();
    const verifier = randomBytes(32).toString("base64url");
    const code = await this.#approve(browser, verifier);
    if (code === undefined) return false;
    const answer = await this.#token({
      grant_type: "authorization_code",
      code,
      redirect_uri: this.#site.redirectUri,
      code_verifier: verifier,
    });
    if (answer?.status !== 200) return this.#refused(answer, { mayHaveEnded: losses !== this.#site.losses });
    this.#signedIn = { browser, ...tokensOf(answer), losses, unsure: false };
    this.#witness.signIns += 1;
    return true;
  }

  /** Credentials, held against who asked for them. */
  async credentials(): Promise<boolean> {
    const signedIn = this.#signedIn;
    if (!signedIn) return false;
    const answer = await this.#api("POST", "credentials", signedIn);
    if (answer?.status !== 200) return this.#refused(answer, { signedIn });
    const { AccessKeyId, sessionArn, tags, ledgerSeq } = answer.body;
    this.#requireOwn("credentials", sessionArn, tags);
    this.#witness.handed.push({
      person: this.person,
      accessKeyId: String(AccessKeyId),
      sessionArn: String(sessionArn),
      tags: tags as Record<string, string>,
      ledgerSeq: Number(ledgerSeq),
    });
    return true;
  }

  /** With nothing broken: who signed in is still signed in, as themselves. */
  async stands(): Promise<void> {
    const signedIn = this.#signedIn;
    if (!signedIn || !this.#mustStand(signedIn)) return;
    // A connection that went silent for ever is found out when it is used, once each.
    for (let tries = 0; tries < TRIES; tries += 1) {
      if (tries > 0) await delay(AFTER_FAILURE);
      if ((await this.#whoami(signedIn)) && (await this.#look(signedIn))) return;
      if (!this.#signedIn) return;
    }
    this.#witness.violation(`${this.person.email} signed in, and can't go on with nothing broken`);
  }

  async #whoami(signedIn: SignedIn): Promise<boolean> {
    const answer = await this.#api("GET", "whoami", signedIn);
    if (answer?.status !== 200) return this.#refused(answer, { signedIn });
    this.#requireOwn("whoami", answer.body["sessionArn"], answer.body["tags"]);
    if (answer.body["email"] !== this.person.email) this.#witness.violation(`${this.person.email} is somebody else`);
    return true;
  }

  /** The browser's page: shows nobody, or this person, and never another one. */
  async #look(signedIn: SignedIn): Promise<boolean> {
    const page = await this.#bounded("/", () => signedIn.browser.open(this.#site.baseUrl));
    if (!page) return false;
    if (page.status !== 200) return this.#refused(answerOf(page), { signedIn });
    const shown = /[\w.]+@[\w.]*acme\.example/.exec(page.text)?.[0];
    if (shown === this.person.email) return true;
    if (shown !== undefined) this.#witness.violation(`${this.person.email} was shown the page of ${shown}`);
    else if (this.#mustStand(signedIn) && !this.#mayBeEnded(page.text)) {
      this.#witness.violation(`${this.person.email} is signed out of the browser`);
    } else this.#signedIn = undefined;
    return false;
  }

  async #refresh(signedIn: SignedIn): Promise<boolean> {
    const answer = await this.#token({ grant_type: "refresh_token", refresh_token: signedIn.refreshToken });
    if (answer?.status === 200) {
      this.#signedIn = { ...signedIn, ...tokensOf(answer), unsure: false };
      return true;
    }
    // Used up, or not: nobody can know. The access token counts until the refresh token is used again.
    this.#signedIn = { ...signedIn, unsure: true };
    return this.#refused(answer, { signedIn });
  }

  /** The code that the approval sends to the command line; undefined where it did not come to that. */
  async #approve(browser: Browser, verifier: string): Promise<string | undefined> {
    const { baseUrl, redirectUri, providers } = this.#site;
    const request = new URLSearchParams({
      client_id: "rolecall-cli",
      response_type: "code",
      redirect_uri: redirectUri,
      scope: "openid offline_access credentials",
      prompt: "consent",
      state: randomBytes(8).toString("hex"),
      code_challenge: createHash("sha256").update(verifier).digest("base64url"),
      code_challenge_method: "S256",
    });
    const choice = await this.#page("/oauth/auth", () => browser.open(`${baseUrl}/oauth/auth?${request.toString()}`));
    const link = new RegExp(`href="(/login/${this.person.provider}(?:\\?[^"]*)?)"`).exec(choice?.text ?? "")?.[1];
    if (!choice || link === undefined) return undefined;
    const login = new URL(link.replaceAll("&amp;", "&"), baseUrl).href;
    const idp = await this.#page("/login", () => browser.open(login));
    if (!idp?.text.includes('name="person"')) return undefined;
    const provider = providers.find(({ id }) => id === this.person.provider);
    if (!provider) throw new Error("no such provider");
    const value = personOf(provider, this.person.name).subject;
    const approval = await this.#page("callback", () => browser.submit(idp, { name: "person", value }));
    if (!approval?.text.includes('value="approve"')) return undefined;
    const done = await this.#page("approval", () => browser.submit(approval, { name: "decision", value: "approve" }));
    return done?.url.searchParams.get("code") ?? undefined;
  }

  /** A page on the way of a sign-in; undefined where it was refused, or did not come. */
  async #page(what: string, open: () => Promise<Page>): Promise<Page | undefined> {
    const page = await this.#bounded(what, open);
    if (page && page.status < 400) return page;
    // A provider that is down shows a page of its own.
    if (page?.url.origin === this.#site.baseUrl) this.#refused(answerOf(page), { mayHaveEnded: true });
    else this.#witness.refuse(page ? "at the provider" : "no connection");
    return undefined;
  }

  async #api(method: "GET" | "POST", name: string, { accessToken }: SignedIn): Promise<Answer | undefined> {
    return await this.#fetch(`/api/v1/${name}`, { method, headers: { authorization: `Bearer ${accessToken}` } });
  }

  async #token(fields: Record<string, string>): Promise<Answer | undefined> {
    const body = new URLSearchParams({ client_id: "rolecall-cli", ...fields });
    return await this.#fetch("/oauth/token", { method: "POST", body });
  }

  /** Undefined: the connection broke, and nobody knows what became of the request. */
  #fetch(path: string, init: RequestInit): Promise<Answer | undefined> {
    return this.#bounded(path, async () => {
      const response = await fetch(`${this.#site.baseUrl}${path}`, init);
      const text = await response.text();
      const body = text.startsWith("{") ? (JSON.parse(text) as Record<string, unknown>) : {};
      const code = body["code"] ?? body["error"];
      return { status: response.status, code: typeof code === "string" ? code : undefined, body };
    });
  }

  /** What `ask` comes to, in bounded time; undefined where the connection broke. */
  async #bounded<T>(what: string, ask: () => Promise<T>): Promise<T | undefined> {
    const began = performance.now();
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<"late">((resolve) => {
      timer = setTimeout(resolve, BOUND, "late");
    });
    this.#witness.requests += 1;
    try {
      const answer = await Promise.race([ask(), late]);
      if (answer !== "late") return answer;
      this.#witness.violation(`no answer to ${what} within ${BOUND} ms`);
    } catch (error) {
      // undici says so of a connection that broke, and the sandbox's browser lets it through.
      if (!(error instanceof TypeError)) throw error;
      this.#witness.refuse("no connection");
    } finally {
      clearTimeout(timer);
      this.#witness.slowest = Math.max(this.#witness.slowest, performance.now() - began);
    }
    return undefined;
  }

  /** Counts a refusal, and sees whether it is one that may be; always false. */
  #refused(answer: Answer | undefined, of: { signedIn?: SignedIn; mayHaveEnded?: boolean }): false {
    if (!answer) {
      this.#witness.refuse("no connection");
      return false;
    }
    const code = answer.code ?? `HTTP ${answer.status}`;
    this.#witness.refuse(code);
    if (EXPECTED.has(code)) return false;
    if (of.signedIn && (answer.status === 401 || code === "invalid_grant" || code === "grant_reused")) {
      this.#ended(of.signedIn, code);
    } else if (!(of.mayHaveEnded && (code === "invalid_grant" || code === "invalid_request"))) {
      this.#witness.violation(`${this.person.email} was refused with ${code} (HTTP ${answer.status})`);
    }
    return false;
  }

  /** A sign-in that the broker says has ended: it must be one of those that may. */
  #ended(signedIn: SignedIn, code: string): void {
    if (code === "sign_in_revoked" && this.person.provider === ASKED_AGAIN) this.#witness.lost += 1;
    else if (this.#mustStand(signedIn)) this.#witness.violation(`${this.person.email} lost their sign-in: ${code}`);
    else this.#witness.lost += 1;
    this.#signedIn = undefined;
  }

  #mustStand({ losses, unsure }: SignedIn): boolean {
    return losses === this.#site.losses && !unsure;
  }

  /** The provider took the second use of a refresh token, whose answer was lost, for a theft (docs/store.md). */
  #mayBeEnded(page: string): boolean {
    return this.person.provider === ASKED_AGAIN && page.includes("has ended your sign-in");
  }

  #requireOwn(what: string, sessionArn: unknown, tags: unknown): void {
    const { email } = this.person;
    const own = Object.entries(this.person.tags).every(
      ([key, value]) => (tags as Record<string, unknown>)[key] === value,
    );
    if (!String(sessionArn).endsWith(`/${email}`))
      this.#witness.violation(`${what} of ${email}: ${String(sessionArn)}`);
    if (!own) this.#witness.violation(`${what} of ${email} has other tags: ${JSON.stringify(tags)}`);
  }
}

function tokensOf({ body }: Answer): Pick<SignedIn, "accessToken" | "refreshToken"> {
  return { accessToken: String(body["access_token"]), refreshToken: String(body["refresh_token"]) };
}
