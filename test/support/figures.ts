/** What a scrape of `/metrics` says: each series by its name and labels, as Prometheus would read them. */
export class Figures {
  readonly text: string;
  readonly #series: readonly { readonly name: string; readonly labels: ReadonlyMap<string, string>; value: number }[];

  constructor(text: string) {
    this.text = text;
    this.#series = text
      .split("\n")
      .filter((line) => line !== "" && !line.startsWith("#"))
      .map((line) => {
        const [, name, labels, value] = /^(\w+)(?:\{(.*)\})? (\S+)$/.exec(line) ?? [];
        if (name === undefined) throw new Error(`no line of the text format: ${line}`);
        const pairs = (labels ?? "").matchAll(/(\w+)="((?:[^"\\]|\\.)*)"/g);
        return {
          name,
          labels: new Map([...pairs].map(([, key = "", text = ""]) => [key, text])),
          value: Number(value),
        };
      });
  }

  /** The sum of all series of that name with these labels; 0 where there is none. */
  sum(name: string, labels: Readonly<Record<string, string>> = {}): number {
    return this.#of(name, labels).reduce((sum, { value }) => sum + value, 0);
  }

  /** The values that a label has in the series of that name. */
  values(name: string, label: string): Set<string> {
    return new Set(this.#of(name, {}).map(({ labels }) => labels.get(label) ?? ""));
  }

  /** Every name, and of each its labels. */
  names(): Map<string, Set<string>> {
    const names = new Map<string, Set<string>>();
    for (const { name, labels } of this.#series) {
      names.set(name, new Set([...(names.get(name) ?? []), ...labels.keys()]));
    }
    return names;
  }

  #of(name: string, wanted: Readonly<Record<string, string>>) {
    return this.#series.filter(
      (series) =>
        series.name === name && Object.entries(wanted).every(([key, value]) => series.labels.get(key) === value),
    );
  }
}

/** Scrapes the broker at `url`. */
export async function figuresOf(url: string): Promise<Figures> {
  const answer = await fetch(`${url}/metrics`);
  const text = await answer.text();
  if (answer.status !== 200) throw new Error(text);
  return new Figures(text);
}
