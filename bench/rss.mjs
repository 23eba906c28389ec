/**
 * Resident memory of a fresh server that holds one ResNet-18 and nothing else, at 4 bits and at 8, next to a server that
 * holds the small shipped model. `node bench/rss.mjs`
 */
import { pathToFileURL } from 'node:url';
import { calibrate } from './calibration.mjs';
import { images, NETS } from './nets.mjs';
import { Server } from './server.mjs';
import { Versions } from './version.mjs';

const PREDICTIONS = 20;

/** @param repeats servers of each kind; the one of the median memory is told */
export async function measureMemory({ repeats = 3 } = {}) {
  const net = NETS.resnet18();
  const { ranges } = await calibrate(net);
  const rows = [await medianServer(repeats, 'mnist-lenet', null, {})];
  for (const bits of [4, 8]) {
    const versions = await Versions.open();
    try {
      await versions.publish(net, ranges, `${bits}x${bits}`);
      const env = { MODELS_DIR: versions.modelsDir, DEFAULT_MODEL: net.name };
      rows.push(await medianServer(repeats, `resnet18 at ${bits} bits`, images(net, 1), env));
    } finally {
      await versions.close();
    }
  }
  return rows;
}

async function medianServer(repeats, ...what) {
  const list = [];
  for (let i = 0; i < repeats; i++) list.push(await serverMemory(...what));
  return list.sort((a, b) => a.after.rss - b.after.rss)[repeats >> 1];
}

async function serverMemory(name, input, env) {
  const server = await Server.start(env);
  try {
    const ready = await server.memory();
    const pixels = input ? Buffer.from(input.buffer) : Buffer.alloc(28 * 28 * 4);
    for (let i = 0; i < PREDICTIONS; i++) await server.predict(pixels, 'top_k=1');
    const after = await server.memory();
    const resident = await (await fetch(`${server.url}/models/${env.DEFAULT_MODEL ?? 'mnist-lenet'}/variants`)).json();
    const variants = resident.variants ?? resident;
    return {
      name,
      engine: variants[0]?.engine,
      variants: variants.length,
      variant_bytes: variants.reduce((sum, v) => sum + v.memory_bytes, 0),
      ready,
      after,
    };
  } finally {
    await server.stop();
  }
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href)
  console.log(JSON.stringify(await measureMemory(), null, 2));
