import type { ReasonCode } from "../flow/errors.ts";

/** What a span may say beside its name and times: nothing that a caller or an identity provider chose. */
export interface SpanFacts {
  /** Completes the name: an event type of the ledger, a command of the store. */
  readonly detail?: string;
  /** A provider's ID. */
  readonly provider?: string;
}

/** The requests and their steps, as traces of OpenTelemetry. */
export interface Traces {
  /** A request begins: a trace of its own. `traceparent`: what its sender calls it, in whatever form. */
  begin(request: { readonly requestId: string; readonly traceparent: string | undefined }): {
    /** Runs `work`; the steps of all that it starts belong to this request. */
    run(work: () => void): void;
    end(answered: {
      readonly method: string;
      readonly route: string;
      readonly status: number;
      readonly refusal: ReasonCode | undefined;
    }): void;
  };
  /** `work`'s own answer, or what it threw; a step of the request that it is part of, if it is part of one. */
  step<T>(name: string, work: () => Promise<T>, facts?: SpanFacts): Promise<T>;
  /** The same for what does not wait. */
  stepNow<T>(name: string, work: () => T, facts?: SpanFacts): T;
  /** Sends what is not sent yet, within two seconds, whatever the receiver does. Never rejects. */
  close(): Promise<void>;
}

/** Where nobody asked for traces. */
export const NO_TRACES: Traces = {
  begin: () => ({
    run: (work) => {
      work();
    },
    end: () => undefined,
  }),
  step: (_name, work) => work(),
  stepNow: (_name, work) => work(),
  close: () => Promise.resolve(),
};
