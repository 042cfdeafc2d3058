import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { delimiter } from "node:path";

/** A program and its arguments; never a shell's line. */
type Command = readonly [string, ...string[]];

/** True where a program that opens browsers was started for `url`; false where there is none, or it did not start. */
export async function openBrowser(url: string): Promise<boolean> {
  for (const command of browserCommands(url, process.env, process.platform)) {
    if (await started(command)) return true;
  }
  return false;
}

/**
 * What to try, in order. BROWSER, where it is set, is a list of commands with `%s` for the address, as xdg-open and
 * Python's webbrowser read it. On a Linux without a display nothing is tried: a text browser would take the terminal.
 */
export function browserCommands(url: string, env: NodeJS.ProcessEnv, platform: NodeJS.Platform): Command[] {
  const chosen = env["BROWSER"];
  if (chosen !== undefined && chosen !== "") return chosenBrowsers(chosen, url, platform);
  // Not `cmd /c start`: the address is full of `&`, which cmd.exe would obey.
  const windows: Command = ["rundll32.exe", "url.dll,FileProtocolHandler", url];
  if (platform === "win32") return [windows];
  if (platform === "darwin") return [["open", url]];
  if (env["WSL_DISTRO_NAME"] !== undefined) {
    return [
      ["wslview", url],
      ["/mnt/c/Windows/System32/rundll32.exe", ...windows.slice(1)],
      ["xdg-open", url],
    ];
  }
  const display = env["DISPLAY"] ?? env["WAYLAND_DISPLAY"] ?? "";
  return display === "" ? [] : [["xdg-open", url]];
}

function chosenBrowsers(list: string, url: string, platform: NodeJS.Platform): Command[] {
  // A whole path may hold spaces; a drive letter holds a colon.
  if (existsSync(list)) return [[list, url]];
  return list.split(platform === "win32" ? ";" : delimiter).flatMap((entry) => {
    const [program, ...words] = entry.split(" ").filter((word) => word !== "");
    if (program === undefined) return [];
    const args = words.map((word) => word.replaceAll("%s", () => url));
    return [[program, ...args, ...(entry.includes("%s") ? [] : [url])] satisfies Command];
  });
}

/** Started apart from us, with none of our streams: a browser's chatter must not reach the terminal. */
function started([program, ...args]: Command): Promise<boolean> {
  return new Promise((resolve) => {
    const child = spawn(program, args, { detached: true, stdio: "ignore", windowsHide: true });
    child.once("error", () => {
      resolve(false);
    });
    child.once("spawn", () => {
      child.unref();
      resolve(true);
    });
  });
}
