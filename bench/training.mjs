/**
 * What a training step costs, and a regularised one beside it: batches of seeded noise, on every backend that loads, each
 * net and backend in a process of its own. `node bench/training.mjs`
 */
import { execFile } from 'node:child_process';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { promisify } from 'node:util';
import { compare, othersShare, ratio } from './measure.mjs';
import { uniform } from './nets.mjs';

/** TF.js has one backend in a process. */
const BACKENDS = [
  { name: 'tensorflow', backend: 'tensorflow' },
  { name: 'wasm, native kernels', backend: 'wasm' },
  { name: 'wasm, plain kernels', backend: 'wasm', kernels: 'plain' },
];
const NETS = ['lenet', 'vgg', 'resnet-20'];
const ROOT = fileURLToPath(new URL('..', import.meta.url));

/** @returns a row for each net and backend; those that do not load say why */
export async function measureTraining({ budgetMs = 8000, log = () => undefined } = {}) {
  const rows = [];
  for (const net of NETS) {
    for (const { name, backend, kernels } of BACKENDS) {
      const args = [fileURLToPath(import.meta.url), net, backend, String(budgetMs)];
      const env = { ...process.env, BITDIAL_TRAINING_KERNELS: kernels ?? 'auto' };
      const row = { net, backend: name, ...(await inProcess(args, { env, timeout: 600_000 })) };
      rows.push(row);
      log(row);
    }
  }
  return rows;
}

async function inProcess(args, options) {
  try {
    const { stdout } = await promisify(execFile)(process.execPath, args, options);
    return JSON.parse(stdout.trim().split('\n').at(-1));
  } catch (error) {
    const why = /^\w*Error: (.*)$/m.exec(error.stderr ?? '')?.[1] ?? error.message;
    // Results are published: no paths of this machine.
    return { unavailable: why.replaceAll(ROOT, '').slice(0, 200) };
  }
}

async function measureBackend(net, wanted, budgetMs) {
  const { loadBackend } = await import('../dist/src/tensorflow/backend.js');
  const { tf, label } = await loadBackend(wanted);
  const plainWanted = process.env.BITDIAL_TRAINING_KERNELS === 'plain';
  if (wanted === 'wasm' && !plainWanted && label === 'wasm') throw new Error('the native kernels are not built');
  const { TRAINING_NETS } = await import('./training-nets.mjs');
  const { importGraph } = await import('../dist/src/model/import.js');
  const { initialWeights, toTensors } = await import('../dist/src/training/weights.js');
  const { createOptimizer } = await import('../dist/src/training/optimizer.js');
  const { regularized, stepGradients } = await import('../dist/src/training/regularizer.js');
  const { shape, batch, document } = TRAINING_NETS[net];
  const graph = importGraph(document());
  const weights = toTensors(initialWeights(graph, 1));
  const rule = regularized(graph);
  const optimizer = createOptimizer({ kind: 'sgd', momentum: 0.9, weight_decay: 1e-4 }, rule.kernels);
  const random = uniform(5);
  const size = batch * shape.reduce((a, b) => a * b, 1);
  const x = tf.tensor(Float32Array.from({ length: size }, random), [batch, ...shape]);
  const labels = Int32Array.from({ length: batch }, () => Math.floor(random() * 10));
  const step = (name, lambdaWeights, lambdaActivations) => ({
    name,
    /** Processor time of the last step, all threads together: what others on the machine disturb least. */
    computeMs: 0,
    async run() {
      const before = process.cpuUsage();
      const given = { x, labels, seeds: [1] };
      const { gradients, moving } = stepGradients(rule, weights, given, { lambdaWeights, lambdaActivations });
      // All the work of an update; the weights stay what they are, so that every step is the same.
      optimizer.apply(weights, gradients, 0);
      // A step ends when the weights are there.
      for (const name of Object.keys(gradients)) weights[name].dataSync();
      tf.dispose([gradients, moving]);
      const { user, system } = process.cpuUsage(before);
      this.computeMs = (user + system) / 1000;
    },
  });
  const list = [step('plain', 0, 0), step('regularised', 1e-3, 3e-3)];
  const share = othersShare();
  const results = await compare(list, { budgetMs, leastRounds: 7 });
  const disturbed = share();
  const [plain, full] = list.map(({ name }) => results.get(name));
  const times = { plain_ms: plain.ms, regularised_ms: full.ms, ratio: ratio(full, plain) };
  const [plainCpu, fullCpu] = [plain.compute.ms, full.compute.ms];
  const cpu = { cpu_ms: plainCpu, cpu_ratio: fullCpu / plainCpu };
  return { label, batch, ...times, ...cpu, least_ms: plain.least, runs: full.runs, disturbed };
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const [net, backend, budgetMs] = process.argv.slice(2);
  const log = (row) => console.error(JSON.stringify(row));
  const result = net ? await measureBackend(net, backend, Number(budgetMs)) : await measureTraining({ log });
  console.log(JSON.stringify(result));
}
