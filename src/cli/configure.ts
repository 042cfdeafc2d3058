import { mkdirSync, readFileSync, realpathSync, statSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { editProfile, hasAccessKey, profileSection, readProfile } from "./aws-config.ts";
import { parseBrokerUrl } from "./broker-url.ts";
import { brokerIn, builtProgram, credentialProcess, isOurs } from "./credential-process.ts";
import { CommandFailure } from "./failure.ts";
import { chooseBroker, fromCaller, openHome, rememberBroker } from "./home.ts";
import { withLock } from "./lock.ts";
import { errorCode, replaceFile } from "./private-file.ts";
import { print, say } from "./terminal.ts";

export interface ConfigureOptions {
  readonly profile: string;
  readonly broker?: string;
  readonly region?: string;
  readonly force?: boolean;
  readonly print?: boolean;
}

/** Settings by which SDKs would take other credentials than ours for a profile. */
const OTHER_SOURCES =
  /^(?:role_arn|source_profile|credential_source|web_identity_token_file|login_session|sso_.*|aws_access_key_id|aws_secret_access_key|aws_session_token)$/;

/**
 * Writes the profile into the AWS config file, keeping all else in it byte for byte, and remembers the broker. Other
 * sources of credentials in that profile are refused, or removed by `force`. `main` is the file that runs.
 */
export async function configure(options: ConfigureOptions, main: string): Promise<void> {
  const profile = requireProfileName(options.profile);
  const broker = chooseBroker(options.broker);
  const program = builtProgram(main);
  const settings = new Map([["credential_process", credentialProcess(process.execPath, program, broker)]]);
  if (options.region !== undefined) settings.set("region", requireRegion(options.region));
  if (options.print === true) {
    process.stdout.write(profileSection(profile, settings));
    return;
  }
  const wait = { seconds: 10, timedOut: "another rolecall configure has been running for too long" };
  await withLock(join(openHome(), "configure.lock"), wait, () => {
    writeProfile(profile, settings, options.force === true);
    return Promise.resolve();
  });
  rememberBroker(broker);
  warnOfShadows(profile);
  print(`profile ${profile} is in ${configFile()}`);
  say(`next: rolecall login, then for example: aws sts get-caller-identity --profile ${profile}`);
}

/** The broker that a profile written by {@link configure} names. */
export function brokerOfProfile(profile: string): string {
  const value = keysOf(readConfig(configFile()).text, profile)?.get("credential_process");
  const broker = value === undefined ? undefined : brokerIn(value);
  if (broker !== undefined) return parseBrokerUrl(broker, `the profile ${profile}`);
  throw new CommandFailure(`the profile ${profile} in ${configFile()} is not one of rolecall's`, {
    hint: `run: rolecall configure --profile ${profile} --broker URL`,
    exitCode: 2,
  });
}

function writeProfile(profile: string, settings: ReadonlyMap<string, string>, force: boolean): void {
  const path = configFile();
  const { text, kept } = readConfig(path);
  const foreign = foreignSettings(keysOf(text, profile));
  if (foreign.length > 0 && !force) {
    throw new CommandFailure(`the profile ${profile} in ${path} has other settings already: ${foreign.join(", ")}`, {
      hint: "choose another name with --profile, or replace them with --force",
    });
  }
  const remove = foreign.filter((key) => key !== "credential_process");
  const edited = editProfile(text, profile, settings, remove);
  if (remove.length > 0) say(`removed from the profile ${profile}: ${remove.join(", ")}`);
  if (edited === text) return;
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  replaceFile(kept?.path ?? path, Buffer.from(edited, "latin1"), kept ?? { mode: 0o600 });
}

function foreignSettings(keys: ReadonlyMap<string, string> | undefined): string[] {
  return [...(keys ?? [])]
    .filter(([key, value]) => OTHER_SOURCES.test(key) || (key === "credential_process" && !isOurs(value)))
    .map(([key]) => key);
}

function keysOf(text: string, profile: string): ReadonlyMap<string, string> | undefined {
  try {
    return readProfile(text, profile);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new CommandFailure(`${configFile()} has the profile ${profile} more than once`, {
      hint: "keep one of its sections: SDKs do not agree on which of them counts",
      cause: error,
    });
  }
}

/** What wins over credential_process: keys in the other file, and keys in the environment. */
function warnOfShadows(profile: string): void {
  const path = awsFile("AWS_SHARED_CREDENTIALS_FILE", "credentials");
  if (hasAccessKey(readConfig(path).text, profile)) {
    say(
      `warning: ${path} has keys for [${profile}], which win over this profile. Remove them there, or use --profile.`,
    );
  }
  if (process.env["AWS_ACCESS_KEY_ID"] !== undefined) {
    say("warning: AWS_ACCESS_KEY_ID is set in this shell, and wins over every profile. Unset it.");
  }
}

function readConfig(path: string): { text: string; kept?: { path: string; mode: number; uid: number; gid: number } } {
  try {
    // Through a link, so that the link stays one when the file is replaced.
    const real = realpathSync(path);
    const { mode, uid, gid } = statSync(real);
    return { text: readFileSync(real, "latin1"), kept: { path: real, mode, uid, gid } };
  } catch (error) {
    if (errorCode(error) === "ENOENT") return { text: "" };
    throw new CommandFailure(`${path} cannot be read: ${errorCode(error) ?? "unexpected error"}`, { cause: error });
  }
}

function configFile(): string {
  return awsFile("AWS_CONFIG_FILE", "config");
}

/** As the SDKs find it: by the variable, in which botocore reads `~`, else in ~/.aws. */
function awsFile(variable: "AWS_CONFIG_FILE" | "AWS_SHARED_CREDENTIALS_FILE", name: string): string {
  const chosen = process.env[variable];
  if (chosen === undefined || chosen === "") return join(homedir(), ".aws", name);
  return fromCaller(chosen.replace(/^~(?=$|[\\/])/, homedir()));
}

/** What every SDK takes without quotes. */
function requireProfileName(name: string): string {
  if (/^[\w@+.%:/-]{1,64}$/.test(name)) return name;
  throw new CommandFailure("--profile must be 1 to 64 letters, digits, or any of _ @ + . % : / -", { exitCode: 2 });
}

function requireRegion(region: string): string {
  if (/^[a-z]{2}(?:-[a-z]+)+-\d{1,2}$/.test(region)) return region;
  throw new CommandFailure("--region must be an AWS region such as us-east-1", { exitCode: 2 });
}
