import type { Response } from "express";
import type { Directory } from "./people.ts";

/** Answers with the sign-in page: each person is a button `person`, and an empty one cancels. Plain forms, no script. */
export function sendSignInPage(res: Response, directory: Directory): void {
  res.set({
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'",
    "cache-control": "no-store",
  });
  res.send(signInPage(directory));
}

function signInPage(directory: Directory): string {
  const buttons = directory.people.map(
    ({ subject, name, email, note }) =>
      `<li><button name="person" value="${escapeHtml(subject)}"><b>${escapeHtml(name)}</b>
       <span>${escapeHtml(email)}</span> <i>${escapeHtml(note)}</i></button></li>`,
  );
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escapeHtml(directory.label)}: who are you?</title>
<style>
  :root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
  body { max-width: 26rem; margin: 10vh auto; padding: 0 1rem }
  h1 { font-size: 1.4rem; margin: 0 }
  ul { list-style: none; padding: 0 }
  button { font: inherit; width: 100%; padding: .6rem .9rem; margin: .25rem 0; text-align: left;
    border: 1px solid #8886; border-radius: .5rem; background: #8881; color: inherit; cursor: pointer }
  button:hover, button:focus-visible { border-color: currentColor }
  b, span { display: block }
  i, p { opacity: .75; font-style: normal; font-size: .9rem }
</style>
<main>
<h1>${escapeHtml(directory.label)}</h1>
<p>A stand-in on this machine, for ${escapeHtml(directory.emailDomain)}. Who are you?</p>
<form method="post">
<ul>
${buttons.join("\n")}
</ul>
<button name="person" value="">Cancel</button>
</form>
</main>
</html>`;
}

function escapeHtml(text: string): string {
  return text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll('"', "&quot;");
}
