import { Command, InvalidArgumentError, Option } from "commander";
import { VERSION } from "./version.ts";

const BROKER = ["--broker <url>", "the broker's address (else ROLECALL_BROKER, else the one named last)"] as const;

/**
 * The employees' commands; each is loaded when it is asked for. Throws commander's error on wrong usage, which it has
 * said by then, and whatever the command throws. `main` is the file that runs.
 */
export function commandLine(main: string): Command {
  const program = new Command("rolecall")
    .description("Company sign-in to short-lived AWS credentials for Amazon Bedrock.")
    .version(VERSION)
    .showHelpAfterError("hint: rolecall --help")
    .exitOverride()
    .addHelpText(
      "after",
      `
Examples:
  rolecall configure --broker https://rolecall.acme.example --region us-east-1
  rolecall login
  aws bedrock-runtime converse --profile rolecall ...

Exit codes: 0 done, 1 refused or failed, 2 wrong usage.`,
    );

  program
    .command("login")
    .description("sign in with your company's account, in a browser")
    .option(...BROKER)
    .option("--no-browser", "only print the address to open")
    .addOption(
      new Option("--timeout <seconds>", "how long to wait for the sign-in").default(300).argParser((text) => {
        if (/^[1-9]\d{0,3}$/.test(text)) return Number(text);
        throw new InvalidArgumentError("It must be 1 to 9999 seconds.");
      }),
    )
    .addHelpText("after", "\nExample:\n  rolecall login --broker https://rolecall.acme.example")
    .action(async (options: { broker?: string; browser: boolean; timeout: number }) => {
      const { login } = await import("./login.ts");
      await login(options);
    });

  program
    .command("credentials")
    .description("print AWS credentials as JSON: the credential_process of a profile")
    .option(...BROKER)
    .option("--profile <name>", "take the broker that this profile names")
    .addHelpText(
      "after",
      "\nExample (in ~/.aws/config; rolecall configure writes it):\n  credential_process = rolecall credentials",
    )
    .action(async (options: { broker?: string; profile?: string }) => {
      const { credentials } = await import("./credentials.ts");
      await credentials(options);
    });

  program
    .command("configure")
    .description("write a profile that uses rolecall into ~/.aws/config, keeping all else in it")
    .option("--profile <name>", "the profile's name", "rolecall")
    .option(...BROKER)
    .option("--region <region>", "the profile's AWS region")
    .option("--force", "replace what the profile has for credentials now")
    .option("--print", "only show the profile")
    .addHelpText(
      "after",
      "\nExample:\n  rolecall configure --profile bedrock --broker https://rolecall.acme.example --region us-east-1",
    )
    .action(
      async (options: { profile: string; broker?: string; region?: string; force?: boolean; print?: boolean }) => {
        const { configure } = await import("./configure.ts");
        await configure(options, main);
      },
    );

  program
    .command("whoami")
    .description("show who you are to AWS, and what the bill will say")
    .option(...BROKER)
    .option("--json", "print the broker's answer as JSON")
    .addHelpText("after", "\nExample:\n  rolecall whoami --json")
    .action(async (options: { broker?: string; json?: boolean }) => {
      const { whoami } = await import("./whoami.ts");
      await whoami(options);
    });

  program
    .command("logout")
    .description("end the sign-in, and remove its tokens and credentials from this machine")
    .option(...BROKER)
    .addHelpText("after", "\nExample:\n  rolecall logout")
    .action(async (options: { broker?: string }) => {
      const { logout } = await import("./logout.ts");
      await logout(options);
    });

  return program;
}
