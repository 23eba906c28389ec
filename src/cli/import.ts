/** `npm run import -- --model NAME --path FOLDER …`: a TF.js Layers model becomes a version, here and now. */
import { readFileSync, statSync } from 'node:fs';
import { resolve } from 'node:path';
import { readConfig } from '../config.js';
import { importModelFolder } from '../importing/import.js';
import { PREPROCESSINGS } from '../importing/preprocessing.js';
import { IMPORT_DEFAULTS, type ImportRequest, parseImportRequest, parseLabels, RESIZES } from '../importing/request.js';
import { ModelStore } from '../model/store.js';
import { readEnergyTable } from '../quantize/energy.js';
import { type Flag, numberFlag, readCommandLine, runCommand, UsageError, usage } from './command-line.js';
import { precisionTable } from './precision-table.js';

const FLAGS: Record<string, Flag> = {
  model: { type: 'string', value: 'name', meaning: 'name of the model that gets the version (needed)' },
  path: {
    type: 'string',
    value: 'folder',
    meaning: 'folder of model.json and its shards, or the file itself (needed)',
  },
  labels: {
    type: 'string',
    value: 'file',
    meaning: 'one label a line; default labels.txt beside model.json, else numbers',
  },
  preprocessing: {
    type: 'string',
    value: 'name',
    meaning: `what becomes of pixels: ${Object.keys(PREPROCESSINGS).join(', ')}; default ${IMPORT_DEFAULTS.preprocessing}`,
  },
  'input-range': {
    type: 'string',
    value: 'low,high',
    meaning: 'what pixel values 0 and 255 become, where no name fits: --input-range=-1,1',
  },
  'input-shape': { type: 'string', value: 'h,w,c', meaning: 'the image, where the model takes a list of numbers' },
  resize: {
    type: 'string',
    value: 'kind',
    meaning: `how images of other sizes are fitted: ${RESIZES.join(', ')}; default ${IMPORT_DEFAULTS.resize}`,
  },
  calibration: {
    type: 'string',
    value: 'folder',
    meaning: 'images that make the ranges; without, they come from the weights',
  },
  'calibration-images': {
    type: 'string',
    value: 'N',
    meaning: `at most so many of them; default ${IMPORT_DEFAULTS.calibration_images}`,
  },
  out: { type: 'string', value: 'folder', meaning: 'models folder to write to; default models' },
  'keep-current': { type: 'boolean', meaning: 'leave the current version as it is' },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = usage('npm run import -- --model name --path folder [flags]', FLAGS);
type Values = Record<string, string | boolean | undefined>;

await runCommand(HELP, async () => {
  const { values } = readCommandLine(process.argv.slice(2), FLAGS, { least: 0, most: 0 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const path = folderOf(values, 'path');
  if (path === null) throw new UsageError('--path: expected the folder of a model, got nothing');
  const request = requestOf(values);
  const { energyTable, maxImagePixels, maxModelBytes } = readConfig();
  const options = { energyTable: readEnergyTable(energyTable || undefined), maxImagePixels, maxModelBytes };
  const { version, summary } = await importModelFolder(path, folderOf(values, 'calibration'), request, options);
  const store = new ModelStore({ modelsDir: resolve(String(values.out ?? 'models')), writeTo: 'models' });
  const published = await store.publish(version, { makeCurrent: request.makeCurrent });
  const { manifest, folder } = published;
  const layers = Object.entries(summary.layers).map(([op, count]) => `${count} ${op}`);
  console.log(`${summary.parameters} parameters: ${layers.join(', ')}`);
  console.log(precisionTable(manifest));
  const { ranges, calibration_images: images } = manifest.imported ?? { ranges: 'data-free', calibration_images: 0 };
  console.log(ranges === 'calibration' ? `ranges from ${images} images` : 'ranges without data');
  console.log(`${published.model} version ${published.version}, ${folder}`);
});

/** The request, checked by the same rules as `POST /admin/models`. */
function requestOf(values: Values): ImportRequest {
  const { model, preprocessing, resize } = values;
  try {
    return parseImportRequest({
      model,
      preprocessing,
      input_range: numbers(values['input-range']),
      input_shape: numbers(values['input-shape']),
      resize,
      labels: labelsOf(values),
      calibration_images: numberFlag(values, 'calibration-images'),
      make_current: values['keep-current'] === true ? false : undefined,
    });
  } catch (error) {
    throw new UsageError((error as Error).message);
  }
}

function labelsOf({ labels }: Values): string[] | undefined {
  return typeof labels === 'string' ? parseLabels(readFileSync(labels, 'utf8'), 'labels') : undefined;
}

function numbers(value: string | boolean | undefined): number[] | undefined {
  return typeof value === 'string'
    ? value.split(',').map((part) => (part.trim() === '' ? Number.NaN : Number(part)))
    : undefined;
}

function folderOf(values: Values, name: string): string | null {
  const value = values[name];
  if (typeof value !== 'string') return null;
  if (statSync(value, { throwIfNoEntry: false }) === undefined) {
    throw new UsageError(`--${name}: expected a file or folder that is there, got ${JSON.stringify(value)}`);
  }
  return resolve(value);
}
