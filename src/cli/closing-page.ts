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

/** The colors of the broker's own pages (templates/assets/style.css), from which this machine can load nothing. */
const STYLE = `
:root { color-scheme: light dark; font: 1.125rem/1.5 system-ui, sans-serif;
  background: light-dark(#f6f7f9, #10151d); color: light-dark(#16202e, #e9edf4) }
main { margin: 18vh auto 0; max-width: 30rem; padding: 2rem; border-radius: .75rem;
  border: 1px solid light-dark(#dce1e8, #2a3442); background: light-dark(#fff, #19212c) }
p { margin: 0; color: light-dark(#536072, #aab4c3) }
.name { font-weight: 600; color: light-dark(#2552c4, #8fb0ff) }
h1 { font-size: 1.5rem; margin: 1rem 0 .5rem }
`;

/** A page without script, links or anything from elsewhere, and the policy that holds it to that. */
export function closingPage(page: ClosingPage): { html: string; contentSecurityPolicy: string } {
  const { heading, text } = TEXTS[page];
  const html =
    `<!doctype html><html lang="en"><head><meta charset="utf-8">` +
    `<meta name="viewport" content="width=device-width, initial-scale=1"><title>${heading} - Rolecall</title>` +
    `<style>${STYLE}</style></head><body><main><p class="name">Rolecall</p><h1>${heading}</h1><p>${text}</p></main></body></html>\n`;
  const hash = createHash("sha256").update(STYLE).digest("base64");
  const contentSecurityPolicy = `default-src 'none'; style-src 'sha256-${hash}'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'`;
  return { html, contentSecurityPolicy };
}
