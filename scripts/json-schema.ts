import { writeFileSync } from "node:fs";
import { format } from "prettier";
import { z } from "zod";
import { configSchema } from "../src/config/schema.ts";

/** The JSON Schema of rolecall.yaml for editors, from the schema that the check itself uses. */
export async function jsonSchemaText(): Promise<string> {
  const schema = z.toJSONSchema(configSchema, { io: "input" });
  return format(JSON.stringify({ title: "rolecall.yaml", ...schema }), { parser: "json", printWidth: 120 });
}

if (import.meta.main) writeFileSync(new URL("../rolecall.schema.json", import.meta.url), await jsonSchemaText());
