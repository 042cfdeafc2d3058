import { execFile } from "node:child_process";
import { cp, mkdir, readFile, symlink } from "node:fs/promises";
import { basename, dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";

export const ROOT = fileURLToPath(new URL("../..", import.meta.url));

interface Instruction {
  readonly name: string;
  readonly text: string;
}

interface Stage {
  readonly name: string;
  readonly instructions: readonly Instruction[];
}

/** The Dockerfile's stages, in order; the last one is the image. */
export async function readDockerfile(): Promise<readonly Stage[]> {
  const text = await readFile(join(ROOT, "Dockerfile"), "utf8");
  const lines = text
    .replaceAll(/^#.*\n/gm, "")
    .replaceAll("\\\n", " ")
    .split("\n");
  const stages: { name: string; instructions: Instruction[] }[] = [];
  for (const line of lines.filter((candidate) => candidate.trim() !== "")) {
    const [, name = "", rest = ""] = /^([A-Z]+)\s+(.*)$/.exec(line) ?? [];
    if (name === "FROM") stages.push({ name: / AS (\w+)$/.exec(rest)?.[1] ?? "image", instructions: [] });
    stages.at(-1)?.instructions.push({ name, text: rest });
  }
  return stages;
}

/**
 * Carries out the Dockerfile's WORKDIR, COPY and npm or node RUN lines in folders of `into`, one a stage, as a build
 * without Docker. Returns the folder that is /app in the image. A stage that installs all packages gets the checkout's.
 */
export async function buildImage(into: string): Promise<string> {
  const context = join(into, "context");
  await copyContext(context);
  const stages = await readDockerfile();
  for (const { name, instructions } of stages) {
    const app = join(into, name, "app");
    await mkdir(app, { recursive: true });
    for (const instruction of instructions) {
      if (instruction.name === "COPY") await copy(instruction.text, { context, into, app });
      else if (instruction.name === "RUN") await run(instruction.text, app);
    }
  }
  return join(into, stages.at(-1)?.name ?? "image", "app");
}

/** What `.dockerignore` lets through: here always a name at the top, without what is taken out again below it. */
async function copyContext(context: string): Promise<void> {
  const lines = (await readFile(join(ROOT, ".dockerignore"), "utf8")).split("\n");
  const rules = lines.filter((line) => line !== "" && !line.startsWith("#"));
  if (rules[0] !== "*") throw new Error(".dockerignore must begin by leaving everything out");
  const kept = rules.filter((rule) => rule.startsWith("!")).map((rule) => rule.slice(1));
  const without = new Set(rules.slice(1).filter((rule) => !rule.startsWith("!")));
  for (const name of kept) {
    await cp(join(ROOT, name), join(context, name), {
      recursive: true,
      filter: (source) => !without.has(relative(ROOT, source)),
    });
  }
}

async function copy(text: string, { context, into, app }: { context: string; into: string; app: string }) {
  const words = text.split(/\s+/);
  const [, stage] = /^--from=(\w+)$/.exec(words[0] ?? "") ?? [];
  const sources = words.slice(stage === undefined ? 0 : 1, -1);
  const target = join(app, words.at(-1) ?? "");
  for (const source of sources) {
    const from = stage === undefined ? join(context, source) : join(into, stage, source);
    const whole = sources.length === 1 && !target.endsWith("/");
    await cp(from, whole ? target : join(target, basename(source)), { recursive: true, verbatimSymlinks: true });
  }
}

async function run(command: string, app: string): Promise<void> {
  const [program = "", ...args] = command.split(/\s+/);
  if (program === "rm") return;
  if (program === "npm" && !args.includes("--omit=dev")) {
    await symlink(join(ROOT, "node_modules"), join(app, "node_modules"));
    return;
  }
  const npm = process.env["npm_execpath"];
  const [file, all]: [string, string[]] =
    program === "npm" && npm === undefined
      ? ["npm", args]
      : [process.execPath, program === "npm" ? [npm ?? "", ...args] : args];
  // npm finds the Node of this run first, as it would in the image.
  const path = `${dirname(process.execPath)}:${process.env["PATH"] ?? ""}`;
  await promisify(execFile)(file, all, { cwd: app, env: { ...process.env, PATH: path } });
}
