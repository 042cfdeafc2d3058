/** The template can't be printed for this configuration; the message says why. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}

/** The command's options don't fit the template; the message says what would. */
export class TemplateUsage extends Error {
  override readonly name = "TemplateUsage";
}
