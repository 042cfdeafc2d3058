import { createHash } from "node:crypto";
import { text } from "./response.ts";

const SCRIPT = 'document.getElementById("post").submit()';

/** What the page of {@link postPage} may do: run its one script. */
export const POST_PAGE_POLICY = `default-src 'none'; script-src 'sha256-${createHash("sha256").update(SCRIPT).digest("base64")}'`;

/** A page that posts `fields` to `action` by itself (Bindings 3.5.4); without scripts there is a button. */
export function postPage(action: string, fields: Readonly<Record<string, string>>): string {
  const inputs = Object.entries(fields).map(
    ([name, value]) => `<input type="hidden" name="${text(name)}" value="${text(value)}">`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Going on</title>
<form method="post" action="${text(action)}" id="post">
${inputs.join("\n")}
<noscript><button>Go on</button></noscript>
</form>
<script>${SCRIPT}</script>
</html>`;
}
