import { Command } from "ioredis";
import type { HostAndPort } from "../config/redis-url.ts";
import { close, KEY_PREFIX, ready, SEND_WITHIN, type Connection, type RedisServers } from "./redis-connection.ts";

/** A command that no node has carried out, but named the one that would ("Redis cluster specification", redirection). */
const REDIRECT = /^(MOVED|ASK) [0-9]+ (\S*):([0-9]+)$/;

type Connect = (node: HostAndPort) => Connection;
type Owners = readonly { readonly first: number; readonly last: number; readonly node: string }[];

/**
 * A Redis Cluster. Each key is asked for where it is, on primaries alone. Not ioredis' own Cluster: that one queues commands,
 * and sends them on when their callers have been refused. Here a command goes to another node only when one said that it
 * did not carry it out, and while its caller still has time; then nothing of it waits anywhere.
 */
export class RedisCluster implements RedisServers {
  readonly #seeds: readonly HostAndPort[];
  readonly #connect: Connect;
  readonly #nodes = new Map<string, Connection>();
  #owners: Owners = [];
  #learning: Promise<void> | undefined;
  #closed = false;

  constructor(seeds: readonly HostAndPort[], connect: Connect) {
    this.#seeds = seeds;
    this.#connect = connect;
    void this.#learn();
  }

  async on<T>(key: string, command: (connection: Connection) => Promise<T>): Promise<T> {
    const sendBy = Date.now() + SEND_WITHIN;
    let node = await this.#ownerOf(slotOf(key), sendBy);
    let asking = false;
    for (;;) {
      try {
        return await this.#ask(node, sendBy, asking, command);
      } catch (error) {
        const redirect = redirectIn(error, node);
        // Whatever else it is, the node may have the slot no more.
        if (redirect?.asking !== true) void this.#learn(node);
        if (redirect === undefined || Date.now() >= sendBy) throw error;
        ({ node, asking } = redirect);
      }
    }
  }

  async ping(): Promise<void> {
    const sendBy = Date.now() + SEND_WITHIN;
    await this.#ownerOf(0, sendBy);
    const nodes = new Set(this.#owners.map(({ node }) => node));
    await Promise.all(Array.from(nodes, (node) => this.#pingNode(node, sendBy)));
  }

  async close(): Promise<void> {
    this.#closed = true;
    await Promise.all(Array.from(this.#nodes.values(), close));
  }

  async #pingNode(node: string, sendBy: number): Promise<void> {
    try {
      // A node that is cut off answers PING, and refuses everything else.
      const info = await this.#ask(node, sendBy, false, (connection) => connection.cluster("INFO"));
      if (!info.includes("cluster_state:ok")) throw new Error("the cluster is down");
    } catch (error) {
      void this.#learn(node);
      throw error;
    }
  }

  async #ask<T>(
    node: string,
    sendBy: number,
    asking: boolean,
    command: (connection: Connection) => Promise<T>,
  ): Promise<T> {
    const connection = this.#connectionTo(node);
    await ready(connection, sendBy);
    // Counts for the next command alone, so nothing may come between the two.
    const asked = asking ? connection.asking() : undefined;
    const [answer] = await Promise.all([command(connection), asked]);
    return answer;
  }

  #connectionTo(node: string): Connection {
    const there = this.#nodes.get(node);
    if (there) return there;
    if (this.#closed) throw new Error("the connection was closed");
    const made = this.#connect(hostAndPort(node));
    this.#nodes.set(node, made);
    return made;
  }

  /** As far as is known; at the start, and after a change, once a node has told. */
  async #ownerOf(slot: number, sendBy: number): Promise<string> {
    const find = (): string | undefined => this.#owners.find(({ first, last }) => first <= slot && slot <= last)?.node;
    const known = find();
    if (known !== undefined) return known;
    await within(this.#learn(), sendBy);
    const told = find();
    if (told === undefined) throw new Error("no node has the key's slot");
    return told;
  }

  /** Asks who has which slot, one question at a time; best not the one that is `suspect`. */
  #learn(suspect?: string): Promise<void> {
    this.#learning ??= this.#askForOwners(suspect).finally(() => {
      this.#learning = undefined;
    });
    return this.#learning;
  }

  /** Takes the first answer. Where nobody answers all stays as it is, until the next command that fails. */
  async #askForOwners(suspect: string | undefined): Promise<void> {
    const known = new Set([...this.#nodes.keys(), ...this.#seeds.map((seed) => nameOf(seed))]);
    const others = [...known].filter((node) => node !== suspect);
    try {
      this.#adopt(await Promise.any((others.length > 0 ? others : [...known]).map((node) => this.#ownersBy(node))));
    } catch {
      // Callers are refused by the error that they met.
    }
  }

  async #ownersBy(node: string): Promise<Owners> {
    const slots = await this.#ask(node, Date.now() + SEND_WITHIN, false, (connection) => connection.cluster("SLOTS"));
    const owners = slots.flatMap(([first, last, primary]) => {
      if (primary === undefined) return [];
      // The types leave out that a node may not know its own name.
      const host = (primary[0] as string | null) ?? "";
      return [{ first, last, node: nameOf({ host, port: primary[1] }, node) }];
    });
    if (owners.length === 0) throw new Error("a node that knows of no cluster");
    return owners;
  }

  #adopt(owners: Owners): void {
    if (this.#closed) return;
    this.#owners = owners;
    const wanted = new Set(owners.map(({ node }) => node));
    for (const node of wanted) this.#connectionTo(node);
    for (const [node, connection] of this.#nodes) {
      if (wanted.has(node)) continue;
      this.#nodes.delete(node);
      void close(connection);
    }
  }
}

function redirectIn(error: unknown, askedNode: string): { node: string; asking: boolean } | undefined {
  const said = error instanceof Error ? REDIRECT.exec(error.message) : null;
  if (!said) return undefined;
  const [, kind, host = "", port] = said;
  return { node: nameOf({ host, port: Number(port) }, askedNode), asking: kind === "ASK" };
}

function slotOf(key: string): number {
  return new Command("get", [KEY_PREFIX + key]).getSlot();
}

/** `HOST:PORT`; a node that does not know its own name means the one that it was reached by. */
function nameOf({ host, port }: HostAndPort, toldBy?: string): string {
  const unknown = host === "" || host === "?";
  return `${unknown && toldBy !== undefined ? hostAndPort(toldBy).host : host}:${port}`;
}

function hostAndPort(node: string): HostAndPort {
  const colon = node.lastIndexOf(":");
  return { host: node.slice(0, colon), port: Number(node.slice(colon + 1)) };
}

async function within(work: Promise<void>, until: number): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<undefined>();
  const timer = setTimeout(
    () => {
      resolve(undefined);
    },
    Math.max(0, until - Date.now()),
  );
  await Promise.race([work, promise]);
  clearTimeout(timer);
}
