import { spawnSync } from "node:child_process";
import { chmodSync, rmSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build, type Plugin } from "esbuild";

/**
 * Makes dist/: the broker, compiled file by file without the sandbox, and the employees' command line as one file,
 * dist/rolecall.mjs. `node scripts/build.ts cli` makes the latter alone.
 */

const root = fileURLToPath(new URL("..", import.meta.url));

/**
 * In one file every `import` of a Node module would run at each start, that of a part which is not asked for too. By
 * this they are read when the part that imports them begins.
 */
const lazyBuiltins: Plugin = {
  name: "lazy-builtins",
  setup(bundle) {
    bundle.onResolve({ filter: /^node:/ }, ({ path }) => ({ path, namespace: "builtin" }));
    bundle.onLoad({ filter: /^/, namespace: "builtin" }, ({ path }) => ({
      contents: `module.exports = process.getBuiltinModule(${JSON.stringify(path)})`,
    }));
  },
};

/** Of package.json only what the command line says: its version. */
const onlyVersion: Plugin = {
  name: "only-version",
  setup(bundle) {
    bundle.onLoad({ filter: /package\.json$/ }, async ({ path }) => {
      const { version } = JSON.parse(await readFile(path, "utf8")) as { version: string };
      return { loader: "json", contents: JSON.stringify({ version }) };
    });
  },
};

const [part, ...rest] = process.argv.slice(2);

if (rest.length > 0 || (part !== undefined && part !== "cli")) {
  process.stderr.write("usage: node scripts/build.ts [cli]\n");
  process.exitCode = 2;
} else {
  // What is not built any more must not be shipped.
  if (part === undefined) rmSync(`${root}dist`, { recursive: true, force: true });
  await bundleCommandLine();
  if (part === undefined && !compileBroker()) process.exitCode = 1;
}

function compileBroker(): boolean {
  const tsc = `${root}node_modules/typescript/bin/tsc`;
  return spawnSync(process.execPath, [tsc, "-p", "tsconfig.build.json"], { cwd: root, stdio: "inherit" }).status === 0;
}

async function bundleCommandLine(): Promise<void> {
  const outfile = `${root}dist/rolecall.mjs`;
  await build({
    absWorkingDir: root,
    entryPoints: ["src/cli.ts"],
    outfile,
    bundle: true,
    platform: "node",
    target: "node24",
    format: "esm",
    // Less to read at every start; names stay for the stack of an unexpected error.
    minify: true,
    keepNames: true,
    legalComments: "eof",
    plugins: [lazyBuiltins, onlyVersion],
    logLevel: "warning",
  });
  chmodSync(outfile, 0o755);
}
