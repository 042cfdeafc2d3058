import type { ConfigSource } from "./config.ts";

/** One fault of rolecall.yaml: the field's path, as in `providers[0].issuer` ("" is the whole file), and what would be right. */
export interface ConfigFault {
  readonly path: string;
  /** Names fields, lines, environment variables and files; never the value of a secret. */
  readonly message: string;
}

/** Every fault of a configuration at once. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
  readonly faults: readonly ConfigFault[];
  readonly source: ConfigSource;

  constructor(faults: readonly ConfigFault[], source: ConfigSource) {
    super(faults.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)).join("\n"));
    this.faults = faults;
    this.source = source;
  }
}

/** `["providers", 0, "id"]` as people write it: `providers[0].id`. */
export function pathText(path: readonly PropertyKey[]): string {
  return path
    .map((step) => (typeof step === "number" ? `[${step}]` : `.${String(step)}`))
    .join("")
    .replace(/^\./, "");
}
