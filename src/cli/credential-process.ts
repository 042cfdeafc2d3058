import { existsSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { CommandFailure } from "./failure.ts";

/**
 * The value of `credential_process` for the built command line. One text has two readers: botocore splits it by
 * shlex's rules and runs it without a shell; the JavaScript, Go and Java SDKs hand it to sh or cmd.exe. Between double
 * quotes all agree, except on the characters that are refused here.
 */
export function credentialProcess(node: string, program: string, broker: string): string {
  return [quoted(node), quoted(program), "credentials", "--broker", plain(broker)].join(" ");
}

/** sh reads `$`, a backquote and `\` between double quotes, cmd.exe `%`; ` #` and ` ;` begin a comment in some SDKs. */
function quoted(path: string): string {
  const forbidden = process.platform === "win32" ? /["%\r\n]|\s[#;]/ : /["$`\\!\r\n]|\s[#;]/;
  if (forbidden.test(path) || !isAscii(path)) {
    throw new CommandFailure(`no profile can name ${path}: its characters mean different things to different SDKs`, {
      hint: "move Node.js or rolecall to a path of plain letters, digits and dashes",
    });
  }
  return `"${path}"`;
}

/** Left bare where no reader could misread it. */
function plain(broker: string): string {
  return /^[A-Za-z0-9:/._~\-[\]]+$/.test(broker) && !broker.includes("[") ? broker : quoted(broker);
}

/** The config file's encoding is the locale's for botocore and UTF-8 for others. */
function isAscii(text: string): boolean {
  return /^[\x20-\x7e]*$/.test(text);
}

/** True where the value of a profile's credential_process runs this program. */
export function isOurs(value: string): boolean {
  return /(?:^|[\\/"\s])rolecall(?:\.mjs|\.exe|-[a-z0-9-]+(?:\.exe)?)?"?\s+credentials(?:\s|$)/.test(value);
}

/** The broker that a credential_process of ours names. */
export function brokerIn(value: string): string | undefined {
  return isOurs(value) ? /--broker[ =]"?([^"\s]+)/.exec(value)?.[1] : undefined;
}

/**
 * The built command line, absolute: this very file, or, from a checkout's sources, `dist/rolecall.mjs` beside them. A
 * profile can't name the sources: they need npm's Node, and their place in a checkout is nobody's promise.
 */
export function builtProgram(running: string): string {
  if (!running.endsWith(".ts")) return running;
  const built = resolve(dirname(running), "../dist/rolecall.mjs");
  if (existsSync(built)) return built;
  throw new CommandFailure(`the command line is not built yet: there is no ${built}`, {
    hint: "run: npm run build:cli",
  });
}
