/** `npm run evaluate -- NAME`: measures a version again, at every standard precision, with the engine that serves. */
import { readConfig } from '../config.js';
import { ModelStore } from '../model/store.js';
import { readEnergyTable } from '../quantize/energy.js';
import { DATASETS, findDataset } from '../training/datasets/table.js';
import { evaluateVersion } from '../training/evaluate.js';
import { type Flag, numberFlag, readCommandLine, runCommand, UsageError, usage } from './command-line.js';
import { precisionTable } from './precision-table.js';

const FLAGS: Record<string, Flag> = {
  version: { type: 'string', value: 'N', meaning: 'version of the model; default the current one' },
  dataset: { type: 'string', value: 'name', meaning: `one of ${Object.keys(DATASETS).join(', ')}; default its own` },
  limit: { type: 'string', value: 'N', meaning: 'at most so many test images' },
  models: { type: 'string', value: 'folder', meaning: 'models folder to read alone; default MODELS_DIR and DATA_DIR' },
  help: { type: 'boolean', meaning: 'this' },
};
const HELP = usage('npm run evaluate -- [model] [flags]', FLAGS);

await runCommand(HELP, async () => {
  const { values, positionals } = readCommandLine(process.argv.slice(2), FLAGS, { least: 0, most: 1 });
  if (values.help) {
    console.log(HELP);
    return;
  }
  const number = whole(values, 'version');
  const limit = whole(values, 'limit');
  const config = readConfig();
  const store =
    typeof values.models === 'string'
      ? new ModelStore({ modelsDir: values.models, writeTo: 'models' })
      : new ModelStore(config);
  const version = await store.get(positionals[0] ?? config.defaultModel, number);
  const { manifest, graph } = version;
  const dataset = await findDataset(String(values.dataset ?? manifest.training?.dataset ?? ''))();
  const precisions = await evaluateVersion(
    { graph, weights: await store.source(version).readWeights(), manifest },
    dataset.test,
    { energyTable: readEnergyTable(config.energyTable), limit, onProgress: counter() },
  );
  process.stderr.write('\r');
  console.log(
    `${version.model} version ${version.version} (${version.digest.slice(0, 12)}), test set of ${dataset.name}`,
  );
  console.log(precisionTable({ ...manifest, precisions }));
});

function whole(values: Record<string, string | boolean | undefined>, name: string): number | undefined {
  const number = numberFlag(values, name);
  if (number === undefined || (Number.isSafeInteger(number) && number >= 1)) return number;
  throw new UsageError(`--${name}: expected a whole number from 1, got ${number}`);
}

/** Shows on a terminal how far it is. */
function counter(): (done: number) => void {
  if (!process.stderr.isTTY) return () => undefined;
  return (done) => void process.stderr.write(`\r${(100 * done).toFixed(0)} %`);
}
