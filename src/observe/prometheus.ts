// The Prometheus text format, written straight from numbers: no object for each series.

export type MetricType = 'counter' | 'gauge' | 'histogram';
export type Sample = readonly [labels: string, value: number];
export type Labels = Readonly<Record<string, string>>;

const escapes: Readonly<Record<string, string>> = { '\\': '\\\\', '"': '\\"', '\n': '\\n' };

/** {a="b",c="d"}, or "" without labels. Make it once for a series and use it for all of its samples. */
export function formatLabels(labels: Labels): string {
  const pairs = Object.entries(labels).map(
    ([name, value]) => `${name}="${value.replace(/[\\"\n]/g, (special) => escapes[special] ?? special)}"`,
  );
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}

/** HELP, TYPE and samples of one metric; labels come from formatLabels(). */
export function formatMetric(
  name: string,
  type: MetricType,
  help: string,
  samples: Iterable<Sample>,
): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} ${type}\n`;
  for (const [labels, value] of samples) text += `${name}${labels} ${formatValue(value)}\n`;
  return text;
}

function formatValue(value: number): string {
  if (Number.isFinite(value)) return String(value);
  return Number.isNaN(value) ? 'NaN' : value > 0 ? '+Inf' : '-Inf';
}

export class Histogram {
  readonly #bounds: readonly number[];
  readonly #counts: Float64Array;
  #sum = 0;
  #total = 0;

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds;
    this.#counts = new Float64Array(bounds.length);
  }

  observe(value: number): void {
    this.#sum += value;
    this.#total++;
    const bucket = this.#bounds.findIndex((bound) => value <= bound);
    if (bucket >= 0) this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1;
  }

  /** The sample lines of one series. */
  lines(name: string, labels: string): string {
    const bucketLabels = labels === '' ? '{' : `${labels.slice(0, -1)},`;
    const total = String(this.#total);
    let text = '';
    let below = 0;
    for (const [index, bound] of this.#bounds.entries()) {
      below += this.#counts[index] ?? 0;
      text += `${name}_bucket${bucketLabels}le="${String(bound)}"} ${String(below)}\n`;
    }
    text += `${name}_bucket${bucketLabels}le="+Inf"} ${total}\n`;
    return `${text}${name}_sum${labels} ${String(this.#sum)}\n${name}_count${labels} ${total}\n`;
  }
}

/** HELP, TYPE and all series of a histogram; labels come from formatLabels(). */
export function formatHistogram(
  name: string,
  help: string,
  series: Iterable<readonly [labels: string, histogram: Histogram]>,
): string {
  let text = `# HELP ${name} ${help}\n# TYPE ${name} histogram\n`;
  for (const [labels, histogram] of series) text += histogram.lines(name, labels);
  return text;
}

/** The entry of the series with these labels, created when it is first needed. */
export function seriesOf<T>(all: Map<string, T>, labels: Labels, make: () => T): T {
  const text = formatLabels(labels);
  const known = all.get(text);
  if (known !== undefined) return known;
  const made = make();
  all.set(text, made);
  return made;
}

/** Adds 1 to the series with these labels. */
export function increment(all: Map<string, number>, labels: Labels): void {
  const text = formatLabels(labels);
  all.set(text, (all.get(text) ?? 0) + 1);
}
