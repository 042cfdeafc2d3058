import { execFile } from "node:child_process";
import { once as happened } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { Command, CommanderError, Option } from "commander";
import { pino } from "pino";
import { operatorLog } from "../operator/log.ts";
import { signInOnce, waysIn } from "./once.ts";
import { startSandbox, type Sandbox, type SandboxPorts } from "./sandbox.ts";
import { lenient } from "./sts.ts";

/** `npm run demo`: the whole way on this machine, for somebody to try; `--once` tries it by itself. */

const DEMO_PORTS: SandboxPorts = { broker: 4400, aws: 4404, okta: 4401, entra: 4402, auth0: 4403 };
const ANY_PORTS: SandboxPorts = { broker: 0, aws: 0, okta: 0, entra: 0, auth0: 0 };
const FEDERATIONS = ["web-identity", "saml"] as const;
const ROLECALL = fileURLToPath(new URL("../../dist/rolecall.mjs", import.meta.url));

const program = new Command("npm run demo --")
  .description("Rolecall on this machine, with stand-ins for Okta, Entra ID, Auth0, AWS STS and Bedrock.")
  .option("--once", "sign somebody in through every provider, print what they got, exit 0 only if all of it held")
  .addOption(
    new Option(
      "--federation <way>",
      "how the broker asks AWS (left out: web-identity; with --once: one broker by either)",
    ).choices(FEDERATIONS),
  )
  .option(
    "--dir <folder>",
    "keep the ledger and the keys there, and write rolecall.yaml anew (left out: a temporary folder)",
  )
  .showHelpAfterError("hint: npm run demo -- --help")
  .exitOverride()
  .action(demo);

try {
  await program.parseAsync();
} catch (error) {
  if (error instanceof CommanderError) process.exitCode = error.exitCode === 0 ? 0 : 2;
  else {
    process.stderr.write(`${error instanceof Error ? describe(error) : "unknown fault"}\n`);
    process.exitCode = 1;
  }
}

type Federation = (typeof FEDERATIONS)[number];

async function demo(options: { once?: true; dir?: string; federation?: Federation }): Promise<void> {
  const { once = false, dir, federation } = options;
  const folder =
    dir === undefined ? await mkdtemp(join(tmpdir(), "rolecall-demo-")) : resolve(process.env["INIT_CWD"] ?? "", dir);
  try {
    if (!once) {
      await inSandbox(folder, DEMO_PORTS, federation, (sandbox) => untilStopped(sandbox, folder));
      return;
    }
    await inSandbox(folder, ANY_PORTS, federation, everyProvider);
    if (federation === undefined) await inSandbox(join(folder, "saml"), ANY_PORTS, "saml", everyProvider);
  } finally {
    if (dir === undefined) await rm(folder, { recursive: true, force: true });
  }
}

async function inSandbox(
  folder: string,
  ports: SandboxPorts,
  federation: Federation = "web-identity",
  use: (sandbox: Sandbox) => Promise<void>,
): Promise<void> {
  const log = operatorLog(pino.destination({ dest: join(folder, "broker.log"), mkdir: true, sync: true }));
  const sandbox = await startSandbox({ folder, ports, log, federation });
  try {
    await use(sandbox);
  } finally {
    await sandbox.close();
  }
}

async function everyProvider(sandbox: Sandbox): Promise<void> {
  for (const provider of waysIn(sandbox)) {
    process.stdout.write(`${JSON.stringify(await signInOnce(sandbox, provider))}\n`);
  }
}

async function untilStopped(sandbox: Sandbox, folder: string): Promise<void> {
  const { baseUrl, aws } = sandbox.config;
  const { stdout: profile } = await promisify(execFile)(process.execPath, [
    ...[ROLECALL, "configure", "--print"],
    ...["--profile", "rolecall-demo", "--region", aws.region, "--broker", baseUrl],
  ]);
  const profileFile = join(folder, "aws-config");
  await writeFile(profileFile, profile);
  process.stdout.write(welcome(sandbox, profile, profileFile));
  await Promise.race([happened(process, "SIGINT"), happened(process, "SIGTERM")]);
  process.stdout.write("\nstopping\n");
}

function welcome({ config, configFile, providers, aws }: Sandbox, profile: string, profileFile: string): string {
  const { baseUrl } = config;
  const people = providers.flatMap(({ label, people: who }) =>
    who.map(({ name, email, note }) => `    ${label.padEnd(9)} ${name.padEnd(13)} ${email.padEnd(25)} ${note}\n`),
  );
  return `
Rolecall runs on this machine, with stand-ins for three identity providers, AWS STS and Bedrock.

  The pages:  ${baseUrl}

  People of the made-up company, by OIDC or by SAML; on a provider's page you choose who you are:
${people.join("")}
  1. Sign in, in a browser:

    npm run -s rolecall -- login --broker ${baseUrl}

     Wherever a page or a hint says rolecall, type: npm run -s rolecall --

  2. Put this profile into ~/.aws/config (or: export AWS_CONFIG_FILE=${profileFile}):

${profile.replaceAll(/^(?=.)/gm, "    ")}
  3. Use any AWS client, with the stand-in's address:

    aws sts get-caller-identity --profile rolecall-demo --endpoint-url ${aws.url}

     The same address answers bedrock-runtime's Converse.

  What the record says:

    npm run -s broker -- audit tail --config ${configFile}

  The broker asks for credentials by ${config.aws.federation === "saml" ? "AssumeRoleWithSAML" : "AssumeRoleWithWebIdentity"}.
  The stand-in for AWS checks what AWS checks, by the role template of this project. What it takes and AWS would not:
${lenient.map((line) => `    - ${line}\n`).join("")}
  Ctrl-C stops everything.
`;
}

function describe(error: Error): string {
  if (!("syscall" in error) || error.syscall !== "listen" || !("port" in error)) return error.message;
  return `port ${String(error.port)} is in use\nhint: stop what listens there, or use: npm run demo -- --once`;
}
