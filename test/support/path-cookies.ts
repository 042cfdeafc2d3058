/** A browser of one site, as far as cookies with a path matter: two tabs of it share them. Follows no redirect. */
export class PathCookies {
  readonly #cookies = new Map<string, { pair: string; path: string }>();
  readonly #url: string;

  constructor(url: string) {
    this.#url = url;
  }

  get(address: string): Promise<Response> {
    return this.#send(address, "GET");
  }

  post(address: string, fields: Record<string, string> = {}): Promise<Response> {
    return this.#send(address, "POST", new URLSearchParams(fields));
  }

  /** Every name that is kept. */
  names(): string[] {
    return [...this.#cookies.values()].map(({ pair }) => pair.slice(0, pair.indexOf("=")));
  }

  async #send(address: string, method: string, body?: URLSearchParams): Promise<Response> {
    const url = new URL(address, this.#url);
    const cookie = [...this.#cookies.values()]
      .filter(({ path }) => url.pathname === path || url.pathname.startsWith(path.endsWith("/") ? path : `${path}/`))
      .map(({ pair }) => pair)
      .join("; ");
    const headers = { accept: "text/html", ...(cookie !== "" && { cookie }) };
    const response = await fetch(url, { method, headers, redirect: "manual", ...(body && { body }) });
    for (const line of response.headers.getSetCookie()) this.#keep(line);
    return response;
  }

  #keep(line: string): void {
    const [pair = "", ...attributes] = line.split(/; ?/);
    const path = attributes.find((attribute) => /^path=/i.test(attribute))?.slice("path=".length) ?? "/";
    const key = `${pair.slice(0, pair.indexOf("="))} ${path}`;
    if (attributes.some((attribute) => /^expires=Thu, 01 Jan 1970/i.test(attribute))) this.#cookies.delete(key);
    else this.#cookies.set(key, { pair, path });
  }
}
