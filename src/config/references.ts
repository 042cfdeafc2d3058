import { readFileSync } from "node:fs";
import { createPrivateKey, X509Certificate } from "node:crypto";
import { resolve } from "node:path";
import { CsvError, parse } from "csv-parse/sync";
type Fault = (message: string) => void;

/** Where a secret is. */
export type SecretReference = { readonly env: string } | { readonly file: string };

/** What the configuration points at: the environment, and files whose relative paths count from `folder`. */
export interface Surroundings {
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The configuration file's own. */
  readonly folder: string;
}

/**
 * The secret behind `reference`; one newline at the end of a file is left out. Undefined, with a fault that names the
 * variable or file, where it is missing or empty. The content stands in no message.
 */
export function readSecret(reference: SecretReference, from: Surroundings, fault: Fault): string | undefined {
  if ("env" in reference) {
    const value = from.env[reference.env];
    if (value === undefined) fault(`the environment variable ${reference.env} is not set`);
    else if (value === "") fault(`the environment variable ${reference.env} is empty`);
    else return value;
    return undefined;
  }
  const value = readText(resolve(from.folder, reference.file), fault)?.replace(/\r?\n$/, "");
  if (value === "") fault(`the file ${reference.file} is empty`);
  return value === "" ? undefined : value;
}

/** A fault unless `pem` is a private key as `private_key_jwt` needs it: PKCS #8, PEM, no passphrase, RSA or P-256. */
export function checkPrivateKey(pem: string, fault: Fault): void {
  if (!isClientKey(pem))
    fault("must lead to an RSA or P-256 private key: PKCS #8 PEM without a passphrase (-----BEGIN PRIVATE KEY-----)");
}

function isClientKey(pem: string): boolean {
  if (!pem.includes("-----BEGIN PRIVATE KEY-----")) return false;
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = createPrivateKey(pem);
    return (type === "rsa" && (details?.modulusLength ?? 0) >= 2048) || details?.namedCurve === "prime256v1";
  } catch {
    return false;
  }
}

/** The text of a file that is no secret. Undefined, with a fault, where it can't be read. */
export function readTextFile(file: string, folder: string, fault: Fault): string | undefined {
  return readText(resolve(folder, file), fault);
}

/**
 * The X.509 certificates in a PEM file, each as PEM of its own. Every one must hold an RSA key of 2048 bits or more, since
 * no other signature algorithm is taken (docs/configuration.md). Empty, with a fault, where one doesn't.
 */
export function readCertificates(file: string, folder: string, fault: Fault): string[] {
  const text = readTextFile(file, folder, fault);
  if (text === undefined) return [];
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  if (blocks.length > 0 && blocks.every(isStrongCertificate)) return blocks;
  fault(`${file} must hold X.509 certificates (PEM) over RSA keys of 2048 bits at least, and nothing weaker`);
  return [];
}

function isStrongCertificate(pem: string): boolean {
  try {
    const { asymmetricKeyType: type, asymmetricKeyDetails: details } = new X509Certificate(pem).publicKey;
    return type === "rsa" && (details?.modulusLength ?? 0) >= 2048;
  } catch {
    return false;
  }
}

/** An `allowed` list that lies in a file, with the line of each value so that faults can name it. */
export interface AllowedFile {
  readonly values: readonly string[];
  readonly lines: readonly number[];
}

/** The first column of a CSV file (RFC 4180) below its header line. Undefined, with a fault, where it can't be read. */
export function readAllowed(file: string, from: Surroundings, fault: Fault): AllowedFile | undefined {
  const text = readText(resolve(from.folder, file), fault);
  if (text === undefined) return undefined;
  try {
    const records = parse(text, {
      bom: true,
      record_delimiter: ["\r\n", "\n", "\r"],
      info: true,
      relax_column_count: true,
      skip_empty_lines: true,
    });
    // `info: true` wraps each record, which the library's types leave out.
    const below = (records as unknown as { record: string[]; info: { lines: number } }[]).slice(1);
    if (below.length === 0) fault(`${file} has no value below its header line`);
    return { values: below.map(({ record }) => record[0] ?? ""), lines: below.map(({ info }) => info.lines) };
  } catch (error) {
    const line = error instanceof CsvError && typeof error["lines"] === "number" ? ` line ${error["lines"]}` : "";
    fault(`${file}${line} is not CSV: look for a quote that does not close`);
    return undefined;
  }
}

function readText(path: string, fault: Fault): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    fault(`the file ${path} can't be read (${errorCode(error)})`);
    return undefined;
  }
}

/** `ENOENT` and the like: what the system says, without its sentence. */
export function errorCode(error: unknown): string {
  return error instanceof Error && "code" in error ? String(error.code) : "unknown fault";
}
