/** A browser's cookies and same-site habits for one site; follows no redirect by itself. */
export class CookieJar {
  readonly cookies = new Map<string, string>();
  readonly #url: string;
  readonly #headers: Record<string, string>;

  constructor(url: string, headers: Record<string, string> = {}) {
    this.#url = url;
    this.#headers = headers;
  }

  get(path: string, headers: Record<string, string> = {}): Promise<Response> {
    return this.#send(path, { headers });
  }

  /** A form of the site's own page, unless `headers` say otherwise. */
  post(
    path: string,
    fields: Record<string, string> = {},
    headers: Record<string, string> = { "sec-fetch-site": "same-origin" },
  ): Promise<Response> {
    return this.#send(path, { method: "POST", body: new URLSearchParams(fields), headers });
  }

  async #send(
    path: string,
    init: Omit<RequestInit, "headers"> & { headers: Record<string, string> },
  ): Promise<Response> {
    const cookie = [...this.cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const headers = { ...this.#headers, ...init.headers, ...(cookie !== "" && { cookie }) };
    const response = await fetch(new URL(path, this.#url), { ...init, headers, redirect: "manual" });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split("; ");
    const name = pair.slice(0, pair.indexOf("="));
    const value = pair.slice(name.length + 1);
    const ended = attributes.some((attribute) => attribute === "Expires=Thu, 01 Jan 1970 00:00:00 GMT");
    if (ended) this.cookies.delete(name);
    else this.cookies.set(name, value);
  }
}

/** Signs the jar's person in by the stand-in provider; resolves with the answer of the callback. */
export async function signInBy(jar: CookieJar, next = "/", answer = ""): Promise<Response> {
  const begun = await jar.get(`/login/okta?next=${encodeURIComponent(next)}`);
  const state = new URL(begun.headers.get("location") ?? "").searchParams.get("state") ?? "";
  return jar.get(`/login/okta/callback?code=c&state=${state}${answer}`);
}
