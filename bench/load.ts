import { Agent, request } from "node:http";

/** What one round of load met. */
export interface Round {
  readonly answers: number;
  /** Answers a second. */
  readonly perSecond: number;
  /** Milliseconds from a request to its whole answer. */
  readonly p50: number;
  readonly p99: number;
}

/**
 * `clients` callers, each with one request under way at a time, take the tokens in turn for so many seconds. Rejects at
 * the first answer that is not a 200: a refusal is fast, and would make a fine figure.
 */
export async function load(options: {
  readonly urls: readonly string[];
  readonly tokens: readonly string[];
  readonly clients: number;
  readonly seconds: number;
}): Promise<Round> {
  const { urls, tokens, clients, seconds } = options;
  const agent = new Agent({ keepAlive: true, maxSockets: clients });
  const times: number[] = [];
  const begun = performance.now();
  const end = begun + seconds * 1000;
  const client = async (_: unknown, index: number): Promise<void> => {
    const url = `${urls[index % urls.length]}/api/v1/credentials`;
    for (let now = performance.now(); now < end;) {
      await post(url, tokens[next()] ?? "", agent);
      const done = performance.now();
      times.push(done - now);
      now = done;
    }
  };
  const next = turns(tokens.length);
  await Promise.all(Array.from({ length: clients }, client));
  const elapsed = performance.now() - begun;
  agent.destroy();
  times.sort((a, b) => a - b);
  return {
    answers: times.length,
    perSecond: (times.length / elapsed) * 1000,
    p50: percentile(times, 50),
    p99: percentile(times, 99),
  };
}

let turn = 0;

/** Goes on where the last round ended, so that no person is asked for twice in a minute. */
function turns(length: number): () => number {
  return () => (turn += 1) % length;
}

function percentile(sorted: readonly number[], percent: number): number {
  return sorted[Math.floor((sorted.length * percent) / 100)] ?? Number.NaN;
}

function post(url: string, token: string, agent: Agent): Promise<void> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, "content-length": 0 };
    const sent = request(url, { method: "POST", agent, headers }, (response) => {
      if (response.statusCode === 200) {
        response.resume().once("end", resolve);
        return;
      }
      response.setEncoding("utf8").once("data", (body) => {
        reject(new Error(`answered ${response.statusCode}: ${String(body)}`));
      });
    });
    sent.once("error", reject);
    sent.end();
  });
}
