/**
 * What a regularised step costs over a plain one: LeNet, batches of 64 of seeded noise, on every backend that loads, each
 * in a process of its own. `node bench/training.mjs`
 */
import { execFile } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { compare, ratio } from './measure.mjs';
import { uniform } from './nets.mjs';

const BACKENDS = ['wasm', 'tensorflow'];
const BATCH = 64;
const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** @returns a row for each backend; those that do not load say why */
export async function measureTraining({ budgetMs = 8000 } = {}) {
  const rows = [];
  for (const backend of BACKENDS) {
    const args = [fileURLToPath(import.meta.url), backend, String(budgetMs)];
    try {
      const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: 60_000 + budgetMs });
      rows.push(JSON.parse(stdout.trim().split('\n').at(-1)));
    } catch (error) {
      const why = /^\w*Error: (.*)$/m.exec(error.stderr ?? '')?.[1] ?? error.message;
      // Results are published: no paths of this machine.
      rows.push({ backend, unavailable: why.replaceAll(ROOT, '').slice(0, 200) });
    }
  }
  return rows;
}

async function measureBackend(backend, budgetMs) {
  const { loadBackend } = await import('../dist/src/tensorflow/backend.js');
  const { tf } = await loadBackend(backend);
  const { lenet } = await import('../dist/src/training/architectures/lenet.js');
  const { importGraph } = await import('../dist/src/model/import.js');
  const { initialWeights, toTensors } = await import('../dist/src/training/weights.js');
  const { regularized, stepGradients } = await import('../dist/src/training/regularizer.js');
  const graph = importGraph(lenet([28, 28, 1], 10));
  const weights = toTensors(initialWeights(graph, 1));
  const net = regularized(graph);
  const random = uniform(5);
  const x = tf.tensor(Float32Array.from({ length: BATCH * 28 * 28 }, random), [BATCH, 28, 28, 1]);
  const labels = Int32Array.from({ length: BATCH }, () => Math.floor(random() * 10));
  const step = (name, lambdaWeights, lambdaActivations) => ({
    name,
    async run() {
      const batch = { x, labels, seeds: [1] };
      const { gradients, moving } = stepGradients(net, weights, batch, { lambdaWeights, lambdaActivations });
      // A step ends when its gradients are there.
      for (const gradient of Object.values(gradients)) gradient.dataSync();
      tf.dispose([gradients, moving]);
    },
  });
  const list = [step('plain', 0, 0), step('regularised', 1e-3, 3e-3)];
  const results = await compare(list, { budgetMs, leastRounds: 5 });
  const [plain, full] = list.map(({ name }) => results.get(name));
  const rounded = { plain_ms: plain.ms, regularised_ms: full.ms, ratio: ratio(full, plain), runs: full.runs };
  return { backend, batch: BATCH, ...rounded };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [backend, budgetMs] = process.argv.slice(2);
  const result = backend ? await measureBackend(backend, Number(budgetMs)) : await measureTraining();
  console.log(JSON.stringify(result));
}
