import { renameSync, writeFileSync } from "node:fs";

/**
 * A browser for BROWSER: `node headless-browser.ts FILE URL` follows the redirects from URL, keeping cookies, and
 * writes the pages that it came by to FILE.
 */

export interface VisitedPage {
  readonly url: string;
  readonly status: number;
  readonly headers: Record<string, string>;
  readonly body: string;
}

export async function visit(start: string): Promise<VisitedPage[]> {
  const cookies = new Map<string, string>();
  const pages: VisitedPage[] = [];
  let url: string | undefined = start;
  while (url !== undefined && pages.length < 20) {
    const cookie = [...cookies].map(([name, value]) => `${name}=${value}`).join("; ");
    const response: Response = await fetch(url, { redirect: "manual", headers: { cookie } });
    for (const line of response.headers.getSetCookie()) {
      const [name = "", value = ""] = (line.split(";")[0] ?? "").split(/=(.*)/s);
      cookies.set(name, value);
    }
    const headers = Object.fromEntries(response.headers);
    pages.push({ url, status: response.status, headers, body: await response.text() });
    const location = response.headers.get("location");
    url = location === null ? undefined : new URL(location, url).href;
  }
  return pages;
}

const [file, url] = process.argv.slice(2);
if (import.meta.main && file !== undefined && url !== undefined) {
  const pages = await visit(url).catch((error: unknown) => [{ url, status: 0, headers: {}, body: String(error) }]);
  writeFileSync(`${file}.part`, JSON.stringify(pages));
  renameSync(`${file}.part`, file);
}
