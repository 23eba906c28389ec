import { BASE, METHODS } from './methods.js';
import { PRECISIONS, type QuantizerName, type RunRecord } from './record.js';

/** Of one method at one precision over its seeds, in percent. */
export interface Cell {
  mean: number;
  /** Half of greatest − least; null of one seed. */
  spread: number | null;
}

export interface Row {
  method: string;
  title: string;
  seeds: number[];
  /** As `30 + 6`: those of the base and its own. */
  epochs: string;
  /** By precision key; empty where nothing was measured. */
  cells: Record<string, Cell>;
}

/** A row for each method there is, the base first where there is one; rows of methods that are missing have no seeds. */
export function summarise(records: readonly RunRecord[], quantizer: QuantizerName): Row[] {
  const methods = records.some(({ method }) => method === BASE)
    ? [BASE, ...Object.keys(METHODS)]
    : Object.keys(METHODS);
  return methods.map((method): Row => {
    const runs = records.filter((record) => record.method === method).sort((a, b) => a.seed - b.seed);
    const cells: Row['cells'] = {};
    for (const key of PRECISIONS) {
      const values = runs.map(({ accuracies }) => 100 * accuracies[quantizer][key]);
      if (values.length > 0) cells[key] = cellOf(values);
    }
    return { method, title: titleOf(method), seeds: runs.map(({ seed }) => seed), epochs: epochsOf(runs), cells };
  });
}

function cellOf(values: number[]): Cell {
  const mean = values.reduce((a, b) => a + b, 0) / values.length;
  return { mean, spread: values.length > 1 ? (Math.max(...values) - Math.min(...values)) / 2 : null };
}

export function titleOf(method: string): string {
  return method === BASE ? 'base of all' : METHODS[method].title;
}

function epochsOf(runs: RunRecord[]): string {
  const texts = runs.map(({ base_epochs, epochs }) =>
    base_epochs > 0 ? `${base_epochs} + ${epochs}` : String(epochs),
  );
  return [...new Set(texts)].join('; ');
}

/**
 * Where a method is worse than plain training: precision keys with the mean difference in points over the seeds that both have.
 */
export function belowPlain(
  records: readonly RunRecord[],
  method: string,
  quantizer: QuantizerName,
): { key: string; points: number }[] {
  const of = (name: string) =>
    new Map(records.filter((r) => r.method === name).map((r) => [r.seed, r.accuracies[quantizer]]));
  const [own, plain] = [of(method), of('plain')];
  const seeds = [...own.keys()].filter((seed) => plain.has(seed));
  if (seeds.length === 0) return [];
  return PRECISIONS.flatMap((key) => {
    const differences = seeds.map((seed) => 100 * ((own.get(seed)?.[key] ?? 0) - (plain.get(seed)?.[key] ?? 0)));
    const points = differences.reduce((a, b) => a + b, 0) / seeds.length;
    return points < -0.005 ? [{ key, points }] : [];
  });
}
