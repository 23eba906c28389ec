import { readFileSync } from 'node:fs';
import type { Graph } from '../model/graph.js';
import { outline } from './build.js';
import { fuseGraph } from './fuse.js';
import type { Plan, PlanTensor, TensorStorage } from './plan.js';
import type { Precision } from './precision.js';
import type { QuantizerSource } from './storage.js';

/**
 * The energy model: Σ over layers of MACs·E_mac(b, a) + weight bits·E_w + activation bits·E_a. It is a model of a chip,
 * not a measurement of this machine; the figures are replaced by a file of the same form (ENERGY_TABLE).
 */
export interface EnergyTable {
  name: string;
  /** Picojoule for an 8×8-bit multiplication; b×a bits cost b·a/64 of it. */
  int8_multiply_pj: number;
  int32_add_pj: number;
  fp16_multiply_pj: number;
  fp16_add_pj: number;
  fp32_multiply_pj: number;
  fp32_add_pj: number;
  /** Picojoule to read one bit of weights; they come from DRAM. */
  weight_bit_pj: number;
  /** Picojoule to read or write one bit of activations; they stay in SRAM. */
  activation_bit_pj: number;
}

/** M. Horowitz, "Computing's energy problem", ISSCC 2014, 45 nm; DRAM 640 pJ and SRAM 5 pJ for 32 bits. */
export const HOROWITZ_45NM: EnergyTable = {
  name: 'Horowitz, ISSCC 2014, 45 nm',
  int8_multiply_pj: 0.2,
  int32_add_pj: 0.1,
  fp16_multiply_pj: 1.1,
  fp16_add_pj: 0.4,
  fp32_multiply_pj: 3.7,
  fp32_add_pj: 0.9,
  weight_bit_pj: 640 / 32,
  activation_bit_pj: 5 / 32,
};

/** The table in a JSON file, or the built-in one; throws where a figure is missing or not a number ≥ 0. */
export function readEnergyTable(path?: string): EnergyTable {
  if (!path) return HOROWITZ_45NM;
  const table = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>;
  for (const [key, example] of Object.entries(HOROWITZ_45NM)) {
    const value = table[key];
    const right =
      typeof example === 'string' ? typeof value === 'string' : Number.isFinite(value) && Number(value) >= 0;
    if (!right) throw new Error(`${path}: ${key}: expected ${typeof example}, got ${JSON.stringify(value)}`);
  }
  return table as unknown as EnergyTable;
}

/** Picojoule of one multiply-accumulate at b-bit weights and a-bit activations; mixed with floats it is a float one. */
export function macEnergyPj(weightBits: number, activationBits: number, table: EnergyTable): number {
  const widest = Math.max(weightBits, activationBits);
  if (widest > 16) return table.fp32_multiply_pj + table.fp32_add_pj;
  if (widest > 8) return table.fp16_multiply_pj + table.fp16_add_pj;
  return table.int8_multiply_pj * ((weightBits * activationBits) / 64) + table.int32_add_pj;
}

function storageBits(storage: TensorStorage): number {
  if (storage.kind === 'codes') return storage.bits;
  return storage.kind === 'float16' ? 16 : 32;
}

function tensorBits(tensor: PlanTensor): number {
  return tensor.height * tensor.width * tensor.channels * storageBits(tensor.storage);
}

/** Microjoule of one inference. Every op reads its inputs and writes its output once; weights are read once. */
export function energyUj(plan: Omit<Plan, 'arena'>, table: EnergyTable): number {
  let pj = 0;
  for (const op of plan.ops) {
    const inputs = 'inputs' in op ? [...op.inputs] : [op.input];
    if ('weights' in op) {
      const { bits, rows, columns } = op.weights;
      const output = plan.tensors[op.output];
      const macs = output.height * output.width * rows * columns;
      pj += macs * macEnergyPj(bits, storageBits(plan.tensors[op.input].storage), table);
      pj += rows * columns * bits * table.weight_bit_pj;
      if (op.residual) inputs.push(op.residual.tensor);
    }
    for (const index of [...inputs, op.output]) pj += tensorBits(plan.tensors[index]) * table.activation_bit_pj;
  }
  return pj / 1e6;
}

/** The same from the topology alone, without building the variant. */
export function energyOutlineUj(
  graph: Graph,
  source: QuantizerSource,
  precision: Precision,
  table: EnergyTable,
): number {
  return energyUj(outline(fuseGraph(graph), source, precision).plan, table);
}
