import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parse } from "yaml";
import { EVENT_TYPES } from "../../src/flow/audit-event.ts";
import { REASONS } from "../../src/flow/errors.ts";
import { Metrics } from "../../src/metrics/metrics.ts";
import { Figures } from "../support/figures.ts";
import { ROOT } from "../support/image.ts";
import { startWeb, type Web } from "../support/web.ts";

const ALERTS = "templates/operations/alerts.yaml";
const DASHBOARD = "templates/operations/dashboard.json";

interface Rule {
  readonly alert: string;
  readonly expr: string;
  readonly labels: { readonly severity: string };
  readonly annotations: { readonly summary: string; readonly description: string };
}
interface Panel {
  readonly id: number;
  readonly title: string;
  readonly type: string;
  readonly targets?: readonly { readonly expr: string; readonly legendFormat: string }[];
}

const { groups } = parse(await readFile(join(ROOT, ALERTS), "utf8")) as { groups: { rules: Rule[] }[] };
const rules = groups.flatMap((group) => group.rules);
const { panels } = JSON.parse(await readFile(join(ROOT, DASHBOARD), "utf8")) as { panels: Panel[] };
const queries = panels.flatMap(({ title, targets = [] }) => targets.map(({ expr }) => [title, expr] as const));
const expressions = [...rules.map(({ alert, expr }) => [alert, expr] as const), ...queries];

/** Labels that Prometheus adds at the scrape. */
const OF_PROMETHEUS = ["job", "instance"];
/** Made by Prometheus itself. */
const NAMES_OF_PROMETHEUS = ["up"];

let names: Map<string, Set<string>>;
let web: Web;

beforeAll(async () => {
  const metrics = new Metrics({
    version: "1",
    ledger: { state: () => Promise.resolve({ writable: true }) },
    store: { ping: () => Promise.resolve() },
    keys: () => [{ key: { use: "federation", kid: "k", createdAt: "2026-11-01T00:00:00Z" }, state: "active" }],
    keysInForce: () => true,
    mappingVersion: () => "digest",
    configInForce: () => true,
    now: Date.now,
  });
  // Everything once: a figure with labels has no line before.
  const trace = [{ tag: "team", rule: "default", value: "x", outcome: "spoke" }] as const;
  metrics.recorded({ type: "credentials.issued", provider: "okta", trace });
  metrics.issued("okta");
  metrics.stsFailed("sts_throttled");
  metrics.rateLimited("api_account");
  metrics.answered({ method: "GET", route: "/", status: 404, seconds: 1, refusal: "not_found" });
  await metrics.timed("sts", () => Promise.resolve());
  web = await startWeb({ parts: { metrics } });
  names = new Figures(await (await fetch(`${web.url}/metrics`)).text()).names();
});
afterAll(() => web.close());

describe.each(expressions)("%s", (_title, expr) => {
  const text = expr.replaceAll(/"[^"]*"/g, '""');

  it("asks for figures that there are", () => {
    const used = text.match(/\b(?:rolecall|process|nodejs)_\w+|\bup\b/g) ?? [];
    expect(used.length).toBeGreaterThan(0);
    for (const name of used) expect([...names.keys(), ...NAMES_OF_PROMETHEUS]).toContain(name);
  });

  it("reads and groups by labels that these figures have", () => {
    const selectors = text.matchAll(/\b(\w+)\{([^}]*)\}/g);
    for (const [, name = "", labels = ""] of selectors) {
      const known = [...(names.get(name) ?? []), ...OF_PROMETHEUS];
      for (const [, label = ""] of labels.matchAll(/(\w+)\s*(?:=~|!~|!=|=)/g)) expect(known).toContain(label);
    }
    const all = [...text.matchAll(/\b(?:rolecall|process|nodejs)_\w+/g)].flatMap(([name]) => [
      ...(names.get(name) ?? []),
    ]);
    for (const [, labels = ""] of text.matchAll(/\b(?:by|on) \(([^)]*)\)/g)) {
      for (const label of labels.split(/,\s*/)) expect([...all, ...OF_PROMETHEUS]).toContain(label);
    }
  });

  it("names reasons and event types that there are", () => {
    for (const [, label, value = ""] of expr.matchAll(/(reason|type)=~?"([^"]*)"/g)) {
      const known: readonly string[] = label === "type" ? EVENT_TYPES : Object.keys(REASONS);
      for (const one of value.split("|")) {
        const pattern = new RegExp(`^(?:${label === "type" ? one.replaceAll(".", "\\.") : one})$`);
        expect(
          known.some((name) => pattern.test(name)),
          one,
        ).toBe(true);
      }
    }
  });
});

describe("alert rules", () => {
  it("have a name each, a severity, and words for people", () => {
    expect(new Set(rules.map(({ alert }) => alert)).size).toBe(rules.length);
    for (const { alert, labels, annotations } of rules) {
      expect(alert).toMatch(/^Rolecall[A-Z]\w+$/);
      expect(["info", "warning", "critical"]).toContain(labels.severity);
      expect(annotations.summary.length).toBeGreaterThan(10);
      expect(annotations.description).toMatch(/\.$/);
    }
  });

  it("say in their words only labels that their question leaves", () => {
    for (const { alert, expr, annotations } of rules) {
      for (const [, label = ""] of annotations.summary.matchAll(/\$labels\.(\w+)/g)) {
        const aggregated = /\b(?:sum|min|max|count)\b/.test(expr);
        const kept = [...expr.matchAll(/\bby \(([^)]*)\)/g)].flatMap(([, names = ""]) => names.split(/,\s*/));
        expect(aggregated ? kept : [...kept, ...OF_PROMETHEUS], alert).toContain(label);
      }
    }
  });
});

describe("the dashboard", () => {
  it("has an ID for each panel and a question in each but the headings", () => {
    expect(new Set(panels.map(({ id }) => id)).size).toBe(panels.length);
    for (const { type, title, targets } of panels) {
      if (type !== "row") expect(targets?.length, title).toBeGreaterThan(0);
    }
  });

  it("shows every figure of ours", () => {
    const shown = queries.map(([, expr]) => expr).join("\n");
    const ours = [...names.keys()].filter(
      (name) => name.startsWith("rolecall_") && !/_(?:sum|count|bucket)$/.test(name),
    );
    for (const name of ours.filter((candidate) => candidate !== "rolecall_build_info")) expect(shown).toContain(name);
  });
});
