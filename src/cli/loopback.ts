import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { closingPage, type ClosingPage } from "./closing-page.ts";

/** The browser's answer, and what to show the person once it is known what became of it. */
export interface LoopbackAnswer {
  readonly url: URL;
  show(page: ClosingPage): void;
}

/** A server on a free port of 127.0.0.1 that takes one answer of the authorization server (RFC 8252, section 7.3). */
export interface LoopbackListener {
  readonly redirectUri: string;
  /** The first GET of /callback with this `state`; anything else is turned away and the wait goes on. */
  answerTo(state: string): Promise<LoopbackAnswer>;
  close(): void;
}

export async function listenOnLoopback(): Promise<LoopbackListener> {
  // Connections that a browser opens in advance must not keep the program running.
  const server = createServer().on("connection", (socket) => socket.unref());
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    redirectUri: `${origin}/callback`,
    answerTo: (state) => waitForAnswer(server, origin, state),
    close: () => void server.close(),
  };
}

function waitForAnswer(server: Server, origin: string, state: string): Promise<LoopbackAnswer> {
  let answered = false;
  return new Promise((resolve) => {
    server.on("request", (req: IncomingMessage, res: ServerResponse) => {
      const url = URL.parse(req.url ?? "", origin);
      // A page that makes its own host name point here (DNS rebinding) sends that name.
      const ours = `http://${req.headers.host ?? ""}` === origin && url?.origin === origin;
      if (!ours || req.method !== "GET" || url.pathname !== "/callback") respond(res, 404, "elsewhere");
      else if (url.searchParams.get("state") !== state) respond(res, 400, "unexpected");
      else if (answered) respond(res, 410, "used");
      else {
        answered = true;
        resolve({
          url,
          show: (page) => {
            respond(res, page === "done" ? 200 : 400, page);
          },
        });
      }
    });
  });
}

function respond(res: ServerResponse, status: number, page: ClosingPage): void {
  const { html, contentSecurityPolicy } = closingPage(page);
  res.writeHead(status, {
    "content-type": "text/html; charset=utf-8",
    "content-security-policy": contentSecurityPolicy,
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    connection: "close",
  });
  res.end(html);
}
