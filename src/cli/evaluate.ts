/**
 * `npm run evaluate -- NAME`: measures a version again, at every standard precision, with the engine that serves; with
 * --choose it chooses the quantiser anew and publishes the same weights with it.
 */
import { readConfig } from '../config.js';
import { ModelStore } from '../model/store.js';
import { readEnergyTable } from '../quantize/energy.js';
import { DATASETS, findDataset } from '../training/datasets/table.js';
import { evaluateVersion } from '../training/evaluate.js';
import { heldOutShare, requantized } from '../training/requantizing.js';
import type { StartingPoint } from '../training/request.js';
import { candidateOf } from '../training/runner.js';
import { startingPoint } from '../training/starting-point.js';
import { type Flag, quoted, readCommandLine, runCommand, usage, wholeFlag } from './command-line.js';
import { precisionTable } from './precision-table.js';

const FLAGS: Record<string, Flag> = {
  version: { type: 'string', value: 'N', meaning: 'version of the model; default the current one' },
  dataset: {
    type: 'string',
    value: 'name',
    meaning: `${Object.keys(DATASETS).join(', ')}, or a folder in DATA_DIR/datasets; default its own`,
  },
  limit: { type: 'string', value: 'N', meaning: 'at most so many test images' },
  choose: {
    type: 'boolean',
    meaning: 'choose the quantiser on images held out of train, then publish a version of the same weights',
  },
  models: {
    type: 'string',
    value: 'folder',
    meaning: 'models folder to work on alone; default MODELS_DIR and DATA_DIR',
  },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = usage('npm run evaluate -- [model] [flags]', FLAGS);

await runCommand(HELP, async () => {
  const args = process.argv.slice(2);
  const { values, positionals } = readCommandLine(args, FLAGS, { least: 0, most: 1 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const number = wholeFlag(values, 'version');
  const limit = wholeFlag(values, 'limit');
  const config = readConfig();
  const store =
    typeof values.models === 'string'
      ? new ModelStore({ modelsDir: values.models, writeTo: 'models' })
      : new ModelStore(config);
  const version = await store.get(positionals[0] ?? config.defaultModel, number);
  const { manifest } = version;
  const { training, quantizer } = manifest;
  const name = String(values.dataset ?? training?.dataset ?? quantizer.chosen_on?.dataset ?? '');
  const dataset = await findDataset(
    name,
    config.dataDir,
  )({
    input: manifest.input,
    labels: manifest.labels,
    maxImagePixels: config.maxImagePixels,
    maxBytes: config.maxDatasetBytes,
    validationShare: heldOutShare(manifest, name),
  });
  const options = { energyTable: readEnergyTable(config.energyTable), limit, onProgress: counter() };
  if (values.choose === true) {
    const start = await startingPoint(store, { model: version.model, from: version.version });
    const command = `npm run evaluate -- ${args.map(quoted).join(' ')}`;
    const made = await requantized(version, start as StartingPoint, dataset, { ...options, command });
    const published = await store.publish(made, { makeCurrent: true });
    process.stderr.write('\r');
    console.log(precisionTable(published.manifest));
    console.log(`${published.model} version ${published.version}, ${published.folder}`);
    return;
  }
  const precisions = await evaluateVersion(await candidateOf(store.source(version)), dataset.test, options);
  process.stderr.write('\r');
  console.log(
    `${version.model} version ${version.version} (${version.digest.slice(0, 12)}), test set of ${dataset.name}`,
  );
  console.log(precisionTable({ ...manifest, precisions }));
});

/** Shows on a terminal how far it is. */
function counter(): (done: number) => void {
  if (!process.stderr.isTTY) return () => undefined;
  return (done) => void process.stderr.write(`\r${(100 * done).toFixed(0)} %`);
}
