import type { Manifest } from '../model/manifest.js';
import { quantizerChoice } from '../quantize/choice.js';
import { parsePrecision } from '../quantize/precision.js';

/** The precision table of a version as text: accuracy, loss against float, what it costs, and how it is quantised. */
export function precisionTable({
  precisions,
  default_precision,
  quantizer,
}: Pick<Manifest, 'precisions' | 'default_precision' | 'quantizer'>): string {
  const float = precisions['32x32']?.accuracy ?? null;
  const rows = Object.entries(precisions).map(([key, { accuracy, images, memory_bytes, energy_uj }]) => [
    key === default_precision ? `${key} *` : key,
    accuracy === null ? 'unknown' : `${(100 * accuracy).toFixed(2)} %`,
    accuracy === null || float === null ? '' : (100 * (accuracy - float)).toFixed(2),
    String(images),
    String(memory_bytes),
    energy_uj.toPrecision(4),
    ...choiceCells(quantizer, key),
  ]);
  const all = [['precision', 'accuracy', 'vs float', 'images', 'bytes', 'µJ', 'weights', 'ranges', 'biases'], ...rows];
  const widths = all[0].map((_, column) => Math.max(...all.map((row) => row[column].length)));
  const lines = all.map((row) =>
    row.map((cell, c) => (c === 0 ? cell.padEnd(widths[c]) : cell.padStart(widths[c]))).join('  '),
  );
  return [...lines, '* the default of a request that names no precision'].join('\n');
}

function choiceCells(quantizer: Manifest['quantizer'], key: string): [string, string, string] {
  const { clipRule, rangeFactor, biasCorrection } = quantizerChoice(quantizer, parsePrecision(key));
  return [clipRule ?? '', rangeFactor === null ? '' : `× ${rangeFactor}`, biasCorrection ? 'corrected' : ''];
}
