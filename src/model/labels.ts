import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { ServiceError } from '../errors.js';
import type { ModelState } from './catalog.js';
import { makeFolder, replaceFile, syncFolder } from './durable.js';
import { describe } from './fields.js';
import { MODEL_NAME } from './manifest-check.js';

/** A label is one path segment, as a model's name is. */
export const LABEL_NAME = MODEL_NAME;
/** The label that every model has: the current version where it was never set. */
export const STABLE = 'stable';

/** The version that a label stands for, there or not; undefined where the label is not set. */
export function labelledVersion({ labels, current }: ModelState, label: string): number | undefined {
  return labels.get(label) ?? (label === STABLE ? current : undefined);
}

/** Why a label leads to no version: `label_not_found`, or `version_not_found` where its version is gone. */
export function labelFault(model: string, state: ModelState, label: string): ServiceError {
  const number = labelledVersion(state, label);
  if (number !== undefined) {
    const detail = `label "${label}" of model "${model}" stands for version ${number}, which is gone`;
    return new ServiceError('version_not_found', detail, { model, label, actual: number });
  }
  const expected = Object.keys(effectiveLabels(state));
  const actual = describe(label);
  const detail = `label: expected one of ${expected.join(', ')} of model "${model}", got ${actual}`;
  return new ServiceError('label_not_found', detail, { field: 'label', expected, actual });
}

/** Version by label, with the one that every model has; by name. */
export function effectiveLabels({ labels, current }: ModelState): Record<string, number> {
  const all = new Map(labels);
  if (current !== undefined && !all.has(STABLE)) all.set(STABLE, current);
  return Object.fromEntries([...all].sort(([a], [b]) => (a < b ? -1 : 1)));
}

/** Puts a label on a version, durably: a reader finds the old version or the new one. @throws ServiceError invalid_field */
export async function writeLabel(folder: string, label: string, version: number | null): Promise<void> {
  if (!LABEL_NAME.test(label)) {
    const expected = 'a-z, 0-9, ".", "_", "-", beginning with a letter or digit, without "..", at most 64';
    const actual = describe(label);
    const extra = { field: 'label', expected, actual };
    throw new ServiceError('invalid_field', `label: expected ${expected}, got ${actual}`, extra);
  }
  await makeFolder(folder);
  await replaceFile(join(folder, `${label}.label`), `${JSON.stringify({ version })}\n`);
}

/** Takes a label that is set away: its file, or what a root that is only read says of it. */
export async function removeLabel(folder: string, { shippedLabels }: ModelState, label: string): Promise<void> {
  if (shippedLabels.has(label)) return writeLabel(folder, label, null);
  await rm(join(folder, `${label}.label`), { force: true });
  await syncFolder(folder);
}
