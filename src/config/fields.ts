import { z } from "zod";

/** `1h`, `30m`, `45s`, `2d` -> seconds. */
export const duration = z.string().regex(/^[1-9][0-9]{0,4}[smhd]$/, "must be a duration such as 30m or 12h");

/** A secret never stands in the file itself. */
export const secretReference = z.union(
  [
    z.strictObject({
      env: z
        .string()
        .regex(/^[A-Za-z_][A-Za-z0-9_]*$/)
        .meta({ description: "Name of an environment variable." }),
    }),
    z.strictObject({
      file: z.string().min(1).meta({ description: "A path; one newline at the end of the file is left out." }),
    }),
  ],
  "must be { env: NAME } or { file: PATH }: a secret never stands in this file",
);

export const id = z.string().regex(/^[a-z0-9][a-z0-9-]{0,62}$/, "must be lower-case letters, digits and hyphens");
export const url = z.url({ protocol: /^https?$/ });
