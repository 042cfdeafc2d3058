/** The template can't be printed for this configuration; the message says why. */
export class TemplateError extends Error {
  override readonly name = "TemplateError";
}
