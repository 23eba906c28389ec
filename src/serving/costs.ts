import type { Manifest } from '../model/manifest.js';
import type { Version } from '../model/store.js';
import { planBytes } from '../quantize/build.js';
import { type EnergyTable, energyOutlineUj } from '../quantize/energy.js';
import { type Precision, parsePrecision, precisionKey } from '../quantize/precision.js';

/** One precision of a version's table with the energy table in force here. */
export interface TableRow {
  precision: Precision;
  /** Held-out, 0..1; null where it was never measured. */
  accuracy: number | null;
  /** Of one inference. */
  energyUj: number;
  memoryBytes: number;
}

interface Known {
  energyUj: Map<string, number>;
  bytes: Map<string, number>;
  rows: TableRow[] | null;
}

/**
 * What a precision of a version costs, without building it. Energy comes from the energy table in force here and memory
 * from the plan's layout, neither from the manifest, whose maker may have had another table or layout: so a budget and
 * the answer to it speak of the same figures.
 */
export class Costs {
  readonly #table: EnergyTable;
  /** Forgotten with the version. */
  readonly #known = new WeakMap<Manifest, Known>();

  constructor(table: EnergyTable) {
    this.#table = table;
  }

  /** Microjoule of one inference. */
  energyUj(version: Version, precision: Precision): number {
    const { energyUj } = this.#of(version.manifest);
    return remembered(energyUj, precision, () =>
      energyOutlineUj(version.graph, version.manifest, precision, this.#table),
    );
  }

  /** Bytes that a variant will hold: exact, the plan's layout does not depend on the weights' values. */
  bytes(version: Version, precision: Precision): number {
    const { bytes } = this.#of(version.manifest);
    return remembered(bytes, precision, () => planBytes(version.graph, version.manifest, precision));
  }

  /** Held-out accuracy, 0..1; null where the version was not evaluated at this precision. */
  accuracy(version: Version, precision: Precision): number | null {
    return version.manifest.precisions[precisionKey(precision)]?.accuracy ?? null;
  }

  /** The precision table, in its order. */
  rows(version: Version): readonly TableRow[] {
    const known = this.#of(version.manifest);
    known.rows ??= Object.entries(version.manifest.precisions).map(([key, record]) => {
      const precision = parsePrecision(key);
      return {
        precision,
        accuracy: record.accuracy,
        energyUj: this.energyUj(version, precision),
        memoryBytes: this.bytes(version, precision),
      };
    });
    return known.rows;
  }

  #of(manifest: Manifest): Known {
    let known = this.#known.get(manifest);
    if (!known) {
      known = { energyUj: new Map(), bytes: new Map(), rows: null };
      this.#known.set(manifest, known);
    }
    return known;
  }
}

function remembered(map: Map<string, number>, precision: Precision, make: () => number): number {
  const key = precisionKey(precision);
  let value = map.get(key);
  if (value === undefined) {
    value = make();
    map.set(key, value);
  }
  return value;
}
