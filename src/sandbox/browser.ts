/**
 * A browser as far as the demo's own sign-ins need one: keeps cookies by host, path and name, follows redirects, and
 * submits the forms of the pages that it gets. Of scripts it knows one: that which posts the page's form, named `post`.
 */
export class Browser {
  readonly #jar = new Map<string, { value: string; path: string; host: string }>();
  readonly #scripts: boolean;

  /** Without `scripts`, such a page is where it stops, too. */
  constructor({ scripts = true } = {}) {
    this.#scripts = scripts;
  }

  /** The page at the end of the redirects. */
  async open(url: string, init: RequestInit = {}): Promise<Page> {
    let target = new URL(url);
    let request = init;
    for (let hops = 0; hops < 20; hops += 1) {
      const response = await fetch(target, {
        ...request,
        redirect: "manual",
        headers: { ...(request.headers as Record<string, string>), cookie: this.#cookiesFor(target) },
      });
      this.#keep(target, response.headers.getSetCookie());
      const location = response.headers.get("location");
      if (location === null) {
        const page = { url: target, status: response.status, text: await response.text() };
        return this.#scripts && /<form\b[^>]* id="post"/.test(page.text) ? this.submit(page) : page;
      }
      await response.body?.cancel();
      target = new URL(location, target);
      request = {};
    }
    throw new Error(`too many redirects at ${target.origin}`);
  }

  /** Submits the first form of `page` that has a button or field `value` (or any form), with its hidden fields. */
  async submit(page: Page, chosen?: { name: string; value: string }): Promise<Page> {
    const form = formsOf(page).find((candidate) => chosen === undefined || candidate.offers(chosen));
    if (!form) throw new Error(`no such form at ${page.url.href} (HTTP ${page.status})`);
    const fields = new URLSearchParams(form.hidden);
    if (chosen) fields.set(chosen.name, chosen.value);
    const action = new URL(form.action, page.url);
    return this.open(action.href, {
      method: "POST",
      body: fields,
      headers: { origin: page.url.origin, "sec-fetch-site": siteOf(page.url, action) },
    });
  }

  #cookiesFor(url: URL): string {
    return [...this.#jar]
      .filter(([, cookie]) => cookie.host === url.host && url.pathname.startsWith(cookie.path))
      .map(([key, cookie]) => `${key.split(" ").at(-1) ?? ""}=${cookie.value}`)
      .join("; ");
  }

  #keep(url: URL, cookies: string[]): void {
    for (const line of cookies) {
      const [pair = "", ...attributes] = line.split(";").map((part) => part.trim());
      const name = pair.slice(0, pair.indexOf("="));
      const value = pair.slice(name.length + 1);
      const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice(5) ?? "/";
      const expires = attributes.find((attribute) => /^expires=/i.test(attribute))?.slice(8);
      const key = `${url.host} ${path} ${name}`;
      const ended = value === "" || (expires !== undefined && Date.parse(expires) < Date.now());
      if (ended) this.#jar.delete(key);
      else this.#jar.set(key, { value, path, host: url.host });
    }
  }
}

function siteOf(from: URL, to: URL): string {
  if (from.origin === to.origin) return "same-origin";
  return from.hostname === to.hostname ? "same-site" : "cross-site";
}

export interface Page {
  readonly url: URL;
  readonly status: number;
  readonly text: string;
}

interface Form {
  readonly action: string;
  readonly hidden: Record<string, string>;
  offers(field: { name: string; value: string }): boolean;
}

function formsOf(page: Page): Form[] {
  return [...page.text.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, attributes = "", content = ""]) => {
    const fields = [...content.matchAll(/<(?:input|button)\b([^>]*)>/gi)].map(([, field = ""]) => ({
      type: attribute(field, "type"),
      name: attribute(field, "name"),
      value: attribute(field, "value"),
    }));
    const hidden = fields.filter((field) => field.type === "hidden").map((field) => [field.name, field.value]);
    return {
      action: attribute(attributes, "action"),
      hidden: Object.fromEntries(hidden) as Record<string, string>,
      offers: ({ name, value }) => fields.some((field) => field.name === name && field.value === value),
    };
  });
}

function attribute(text: string, name: string): string {
  const value = new RegExp(`\\b${name}="([^"]*)"`, "i").exec(text)?.[1] ?? "";
  return value
    .replaceAll("&quot;", '"')
    .replaceAll("&#39;", "'")
    .replaceAll("&lt;", "<")
    .replaceAll("&gt;", ">")
    .replaceAll("&amp;", "&");
}
