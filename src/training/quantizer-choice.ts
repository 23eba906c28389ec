/**
 * How a version is to be quantised at each precision, chosen when it is made, on images held out of train and never on test
 * images: the clip rule of the weights, the factor on the clips of the activation ranges, and whether biases are corrected.
 * No one setting is the best at all widths. What is chosen is stored with the version, so quantising later reads no data.
 */
import type { BiasCorrections, LayerCorrections } from '../model/corrections.js';
import { encodeCorrections } from '../model/corrections.js';
import type { ClipRule, QuantizerChoices } from '../model/manifest.js';
import { isInteger, type Precision, precisionKey, STANDARD_PRECISIONS } from '../quantize/precision.js';
import { BiasCorrector, withCorrections } from './bias-correction.js';
import type { Split } from './datasets/dataset.js';
import { ImageBatches } from './image-batches.js';
import { type Candidate, Runners } from './runner.js';
import { accuracyOf, isBetter, type Score, type ScoreHooks, score } from './score.js';

export interface QuantizerOptions {
  precisions?: readonly Precision[];
  /** At most so many images decide; 2000 by default, 200 where the slow reference engine has to do. */
  limit?: number;
  /** Asked before every batch. */
  isCancelled?(): boolean;
  /** @param done share of the work, 0..1 */
  onProgress?(done: number): void;
}

export interface ChosenQuantizer {
  quantizer: QuantizerChoices;
  corrections: BiasCorrections;
  /** Held-out images that decided. */
  images: number;
  /** By precision key, on the images that decided. */
  measured: Record<string, { accuracy: number }>;
}

const IMAGES = 2000;
const REFERENCE_IMAGES = 200;
/** Images that shifts of the mean are measured on: at most so many, and at most this share of all. */
const CORRECTION_IMAGES = 256;
const CORRECTION_SHARE = 0.2;
const BATCH = 50;

const OTHER_RULES: readonly ClipRule[] = ['min-max', 'p-2.4'];
/** Outwards from 1, one way while it helps, else the other. */
const FACTORS: readonly (readonly number[])[] = [
  [1.25, 1.5625],
  [0.8, 0.64],
];
/** Scores that a precision takes, about: of the first setting, rules, factors and corrections. */
const TRIALS = 8;

interface Setting {
  clipRule: ClipRule;
  rangeFactor: number;
  corrections: LayerCorrections;
}

/**
 * One after another: clip rule, range factor, bias correction, each kept only where it does better than what is held
 * (`score.ts`). Where both widths are 2..8; other precisions are only measured.
 * @param heldOut images held out of train; the last of them measure shifts of the mean, the others decide
 * @throws TrainingCancelled
 */
export async function chooseQuantizer(
  version: Candidate,
  heldOut: Split,
  { precisions = STANDARD_PRECISIONS, limit, isCancelled = () => false, onProgress }: QuantizerOptions,
): Promise<ChosenQuantizer> {
  const runners = await Runners.open();
  try {
    const { deciding, measuring } = divided(heldOut, limit ?? (runners.engine ? IMAGES : REFERENCE_IMAGES));
    const corrector = await BiasCorrector.over(version, measuring, runners, isCancelled);
    const images = new ImageBatches(heldOut, 0, deciding, BATCH);
    const clip_rules: Record<string, ClipRule> = {};
    const range_factors: Record<string, number> = {};
    const corrections = new Map<string, LayerCorrections>();
    const measured: ChosenQuantizer['measured'] = {};
    for (const [p, precision] of precisions.entries()) {
      let trials = 0;
      const hooks: ScoreHooks = {
        isCancelled,
        onProgress: (done) =>
          onProgress?.((p + Math.min(1, (trials + done / images.count) / TRIALS)) / precisions.length),
      };
      const scoreOf = async (setting: Setting) => {
        const runner = await runners.runner(withSetting(version, precision, setting), precision);
        try {
          return await score(runner, images, hooks);
        } finally {
          runner.release();
          trials++;
        }
      };
      const measure = (setting: Setting) => corrector.measure(withSetting(version, precision, setting), precision);
      const { setting, held } = await search(scoreOf, isInteger(precision) ? measure : null);
      const key = precisionKey(precision);
      measured[key] = { accuracy: accuracyOf(held) };
      if (isInteger(precision)) {
        clip_rules[key] = setting.clipRule;
        range_factors[key] = setting.rangeFactor;
      }
      if (setting.corrections.size > 0) corrections.set(key, setting.corrections);
      onProgress?.((p + 1) / precisions.length);
    }
    const { minimum_bits } = version.manifest.quantizer;
    const index = encodeCorrections(corrections)?.index;
    const quantizer = { clip_rules, range_factors, ...(index && { bias_corrections: index }), minimum_bits };
    return { quantizer, corrections, images: deciding, measured };
  } finally {
    await runners.close();
  }
}

/** @param measure corrections for a setting; null where there is nothing to choose */
async function search(
  scoreOf: (setting: Setting) => Promise<Score>,
  measure: ((setting: Setting) => Promise<LayerCorrections>) | null,
): Promise<{ setting: Setting; held: Score }> {
  let setting: Setting = { clipRule: 'squared-error', rangeFactor: 1, corrections: new Map() };
  let held = await scoreOf(setting);
  const consider = async (change: Partial<Setting>): Promise<boolean> => {
    const candidate = { ...setting, ...change };
    const found = await scoreOf(candidate);
    if (!isBetter(found, held)) return false;
    setting = candidate;
    held = found;
    return true;
  };
  if (measure !== null) {
    for (const clipRule of OTHER_RULES) await consider({ clipRule });
    for (const [near, far] of FACTORS) {
      if (!(await consider({ rangeFactor: near }))) continue;
      await consider({ rangeFactor: far });
      break;
    }
    await consider({ corrections: await measure(setting) });
  }
  return { setting, held };
}

/** The version with a setting at one precision, and without choices at all others. */
function withSetting(version: Candidate, precision: Precision, setting: Setting): Candidate {
  const key = precisionKey(precision);
  const { minimum_bits } = version.manifest.quantizer;
  const quantizer = {
    clip_rules: { [key]: setting.clipRule },
    range_factors: { [key]: setting.rangeFactor },
    minimum_bits,
  };
  const manifest = { ...version.manifest, quantizer };
  return withCorrections({ ...version, manifest }, precision, setting.corrections);
}

/** At most `limit` images decide, and others measure; of a single image, that one does both. */
function divided(split: Split, limit: number) {
  const count = Math.max(1, Math.min(CORRECTION_IMAGES, limit, Math.floor(split.size * CORRECTION_SHARE)));
  const deciding = Math.max(1, Math.min(limit, split.size - count));
  return { deciding, measuring: { split, first: split.size - count, count } };
}
