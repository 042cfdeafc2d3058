/**
 * Before the tests: sees that the real programs which they drive are on this machine (Redis, PostgreSQL, Chromium, AWS CLI v2,
 * boto3, xmlsec1, xmllint and the schemas of SAML). Installs what is missing as root on Debian; elsewhere says in one line what to install.
 */
import { spawnSync } from "node:child_process";
import { existsSync, globSync } from "node:fs";
import { fileURLToPath } from "node:url";

const APT_PACKAGES: Readonly<Record<string, string>> = {
  "/usr/bin/redis-server": "redis-server",
  "/usr/bin/chromium": "chromium",
  "/usr/bin/aws": "awscli",
  "/usr/bin/xmlsec1": "xmlsec1",
  "/usr/bin/xmllint": "libxml2-utils",
  "/usr/share/xml/opensaml/saml-schema-metadata-2.0.xsd": "opensaml-schemas",
  "/usr/share/xml/xmltooling/xenc-schema.xsd": "xmltooling-schemas",
};
const BOTO3 = "boto3==1.43.11";
const VENV = fileURLToPath(new URL("../.cache/python", import.meta.url));

const missing = Object.entries(APT_PACKAGES).flatMap(([path, name]) => (existsSync(path) ? [] : [name]));
// Each version has a folder of its own, which the client alone would make too.
if (globSync("/usr/lib/postgresql/*/bin/initdb").length === 0) missing.push("postgresql");
if (spawnSync("/usr/bin/python3", ["-c", "import ensurepip"]).status !== 0) missing.push("python3-venv");
if (missing.length > 0) {
  if (process.getuid?.() !== 0 || !existsSync("/usr/bin/apt-get")) {
    fail(`the tests need these Debian packages (or their like): ${missing.join(" ")}`);
  }
  console.error(`installing ${missing.join(" ")} for the tests`);
  run("apt-get", ["update", "-qq"]);
  run("apt-get", ["install", "-y", "-qq", "--no-install-recommends", ...missing]);
}
if (!existsSync(`${VENV}/bin/${BOTO3}`)) {
  console.error(`installing ${BOTO3} into .cache/python for the tests`);
  run("/usr/bin/python3", ["-m", "venv", VENV]);
  run(`${VENV}/bin/pip`, ["install", "--quiet", "--disable-pip-version-check", BOTO3]);
  run("touch", [`${VENV}/bin/${BOTO3}`]);
}

function run(command: string, args: string[]): void {
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  const { status } = spawnSync(command, args, { stdio: ["ignore", "ignore", "inherit"], env });
  if (status !== 0) fail(`could not run: ${command} ${args.join(" ")}`);
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
