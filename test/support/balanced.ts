import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { readFile, writeFile } from "node:fs/promises";
import { Agent, createServer, request, type IncomingMessage, type ServerResponse } from "node:http";
import { dirname, join } from "node:path";
import { createInterface } from "node:readline";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { parse, stringify } from "yaml";

const BROKER = fileURLToPath(new URL("../../src/broker.ts", import.meta.url));

export interface LoggedLine {
  readonly msg: string;
  readonly [field: string]: unknown;
}

/** A broker in a process of its own. */
export interface BrokerProcess {
  readonly port: number;
  readonly pid: number;
  /** What it has logged so far. */
  readonly logged: readonly LoggedLine[];
  /** SIGHUP. */
  hangup(): void;
  /** SIGTERM; resolves with the exit code. */
  stop(): Promise<number | null>;
  /** SIGKILL; resolves when it is gone. */
  kill(): Promise<void>;
  /** SIGSTOP: it is there, and does nothing, until {@link resume}. */
  pause(): void;
  resume(): void;
  /** Resolves when it has ended, whoever ended it. */
  readonly ended: Promise<void>;
}

interface ServeOptions {
  readonly program?: string;
  readonly complain?: (text: string) => void;
}

/**
 * `rolecall-broker serve`, once it listens; `env` is added to the test's own. Of a built `program` instead of the
 * sources, and with its complaints (standard error) to somebody else than the test's reader, where that is said.
 */
export async function serveBroker(
  configFile: string,
  env: Readonly<Record<string, string>> = {},
  { program = BROKER, complain = (text) => void process.stderr.write(text) }: ServeOptions = {},
): Promise<BrokerProcess> {
  const child = spawn(process.execPath, [program, "serve", "--config", configFile], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, ...env },
  });
  child.stderr.setEncoding("utf8").on("data", complain);
  // A test run that is interrupted leaves no broker behind.
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  const exited = once(child, "exit") as Promise<[number | null]>;
  const logged: LoggedLine[] = [];
  const port = await portOf(child, logged);
  return {
    port,
    pid: child.pid ?? 0,
    logged,
    ended: exited.then(() => undefined),
    hangup: () => void child.kill("SIGHUP"),
    async stop() {
      child.kill("SIGTERM");
      const [code] = await exited;
      process.off("exit", kill);
      return code;
    },
    async kill() {
      kill();
      await exited;
      process.off("exit", kill);
    },
    pause: () => void child.kill("SIGSTOP"),
    resume: () => void child.kill("SIGCONT"),
  };
}

/** The port that it logs; every line goes into `logged`, then and later. */
function portOf({ stdout }: ChildProcess, logged: LoggedLine[]): Promise<number> {
  if (stdout === null) throw new Error("no output");
  return new Promise((resolve, reject) => {
    createInterface({ input: stdout })
      .on("line", (text) => {
        const line = JSON.parse(text) as LoggedLine;
        logged.push(line);
        if (line.msg === "listening") resolve(Number(line["port"]));
      })
      .once("close", () => {
        reject(new Error("the broker did not start"));
      });
  });
}

/** The configuration in `file` with `changes`, beside it, for a broker on any free port; returns its path. */
export async function configBeside(file: string, name: string, changes: object): Promise<string> {
  const config = parse(await readFile(file, "utf8")) as object;
  const path = join(dirname(file), name);
  await writeFile(path, stringify({ ...config, listen: "127.0.0.1:0", ...changes }));
  return path;
}

/** How often the balancer asks each broker whether it wants requests (milliseconds). */
const CHECK_INTERVAL = 50;

/**
 * What stands in front of several brokers: hands each request to the next one that says it is ready, over connections
 * that it keeps, and tries nothing a second time.
 */
export class Balancer {
  readonly #backends = new Map<BrokerProcess, { agent: Agent; ready: boolean }>();
  readonly #server = createServer((req, res) => {
    this.#pass(req, res);
  });
  #turn = 0;
  #closed = false;

  async listen(port: number): Promise<void> {
    this.#server.listen(port, "127.0.0.1");
    await once(this.#server, "listening");
  }

  /** Resolves when `broker` gets requests. */
  async add(broker: BrokerProcess): Promise<void> {
    const backend = { agent: new Agent({ keepAlive: true }), ready: false };
    this.#backends.set(broker, backend);
    await this.#check(broker, backend);
    void this.#watch(broker, backend);
  }

  remove(broker: BrokerProcess): void {
    this.#backends.get(broker)?.agent.destroy();
    this.#backends.delete(broker);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#server.close();
    this.#server.closeAllConnections();
    await once(this.#server, "close");
    for (const broker of [...this.#backends.keys()]) this.remove(broker);
  }

  async #watch(broker: BrokerProcess, backend: { ready: boolean }): Promise<void> {
    while (!this.#closed && this.#backends.has(broker)) {
      await delay(CHECK_INTERVAL);
      await this.#check(broker, backend);
    }
  }

  async #check({ port }: BrokerProcess, backend: { ready: boolean }): Promise<void> {
    backend.ready = await fetch(`http://127.0.0.1:${port}/readyz`).then(
      ({ ok }) => ok,
      () => false,
    );
  }

  #pass(req: IncomingMessage, res: ServerResponse): void {
    const ready = [...this.#backends].filter(([, backend]) => backend.ready);
    const [broker, backend] = ready[this.#turn++ % ready.length] ?? [];
    if (broker === undefined || backend === undefined) {
      res.writeHead(503).end("no broker is ready");
      return;
    }
    const { method, url: path, headers } = req;
    const onward = request({ host: "127.0.0.1", port: broker.port, agent: backend.agent, method, path, headers });
    onward.on("response", (answer) => {
      res.writeHead(answer.statusCode ?? 502, answer.rawHeaders);
      answer.pipe(res);
    });
    onward.on("error", (error) => {
      res.writeHead(502).end(error.message);
    });
    req.pipe(onward);
  }
}
