/** STS says no, as it does on the wire. */
export class StsFault extends Error {
  override readonly name = "StsFault";
  readonly wireCode: string;
  /** HTTP. */
  readonly status: number;

  constructor(wireCode: string, status: number, message: string, options?: { cause?: unknown }) {
    super(message, options);
    this.wireCode = wireCode;
    this.status = status;
  }
}
