import { createHash } from "node:crypto";

/** The pages that the browser shows at the end of a sign-in. They are served once, from the person's own machine. */
export type ClosingPage = "done" | "failed" | "unexpected" | "used" | "elsewhere";

const TEXTS: Record<ClosingPage, { heading: string; text: string }> = {
  done: { heading: "You are signed in", text: "You can close this page and go back to your terminal." },
  failed: {
    heading: "The sign-in did not work",
    text: "Your terminal says why, and what to do. You can close this page.",
  },
  unexpected: {
    heading: "This is not the answer that was expected",
    text: "It belongs to another sign-in. If you did not start one, close this page; else run rolecall login again.",
  },
  used: { heading: "This sign-in is over", text: "Its answer was taken already. You can close this page." },
  elsewhere: { heading: "There is nothing here", text: "You can close this page." },
};

const STYLE =
  ":root{color-scheme:light dark;font:1.125rem/1.5 system-ui,sans-serif}" +
  "body{margin:20vh auto;max-width:32rem;padding:0 1.5rem}h1{font-size:1.5rem;margin:0 0 .5rem}";

/** A page without script, links or anything from elsewhere, and the policy that holds it to that. */
export function closingPage(page: ClosingPage): { html: string; contentSecurityPolicy: string } {
  const { heading, text } = TEXTS[page];
  const html =
    `<!doctype html><html lang="en"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width, initial-scale=1"><title>${heading} - Rolecall</title>` +
    `<style>${STYLE}</style></head><body><main><h1>${heading}</h1><p>${text}</p></main></body></html>\n`;
  const hash = createHash("sha256").update(STYLE).digest("base64");
  const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  return { html, contentSecurityPolicy };
}
