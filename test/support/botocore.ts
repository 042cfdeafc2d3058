import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const PYTHON = fileURLToPath(new URL("../../.cache/python/bin/python3", import.meta.url));

/** Sections of an AWS config file, each a map of keys to values; `error`: botocore refuses the file. */
export type ParsedConfig = Record<string, Record<string, unknown>>;

const PARSE = `
import json, os, sys, tempfile
from botocore.configloader import raw_config_parse
from botocore.exceptions import ConfigParseError
path = os.path.join(tempfile.mkdtemp(), "config")
for text in json.load(sys.stdin):
    with open(path, "wb") as file:
        file.write(text.encode("utf-8"))
    try:
        print(json.dumps(raw_config_parse(path, parse_subsections=True)))
    except ConfigParseError as error:
        print(json.dumps({"error": {"name": type(error).__name__}}))
`;

/** What botocore makes of each text. */
export function parseWithBotocore(texts: readonly string[]): ParsedConfig[] {
  const lines = python(PARSE, JSON.stringify(texts)).trim().split("\n");
  return lines.map((line) => JSON.parse(line) as ParsedConfig);
}

/** stdout of the Python that `scripts/test-services.ts` gave boto3 to. Throws what Python says where it fails. */
export function python(program: string, input: string, env: Record<string, string> = {}): string {
  const run = spawnSync(PYTHON, ["-c", program], {
    input,
    encoding: "utf8",
    maxBuffer: 64 * 1024 * 1024,
    env: { ...process.env, PYTHONUTF8: "1", ...env },
  });
  if (run.status !== 0) throw new Error(run.error?.message ?? run.stderr);
  return run.stdout;
}
