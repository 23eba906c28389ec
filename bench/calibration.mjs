/** Ranges of a net's tensors from ONNX Runtime's float32 run of it: one calibration for both sides. */
import ort from 'onnxruntime-node';
import { fuseGraph } from '../dist/src/quantize/fuse.js';
import { activationRange, Histogram } from '../dist/src/quantize/ranges.js';
import { images } from './nets.mjs';
import { floatModel } from './ort-models.mjs';

const IMAGES = 4;

/** @returns ours: as a manifest has them; theirs: extremes of every node */
export async function calibrate(net) {
  const session = await ort.InferenceSession.create(floatModel(net, IMAGES, true), {
    graphOptimizationLevel: 'disabled',
  });
  const input = images(net, IMAGES);
  const values = await session.run({ input: new ort.Tensor('float32', input, session.inputMetadata[0].shape) });
  await session.release();
  const extremes = new Map([['input', [-1, 1]]]);
  for (const [name, { data }] of Object.entries(values)) {
    let [low, high] = [0, 0];
    for (const v of data) {
      if (v < low) low = v;
      else if (v > high) high = v;
    }
    extremes.set(name, [low, high]);
  }
  const ranges = {};
  for (const { name, role, storageOf } of fuseGraph(net.graph).tensors.values()) {
    if (storageOf !== null || (role !== 'activation' && role !== 'sum-operand')) continue;
    const histogram = new Histogram(...extremes.get(name));
    histogram.add(values[name].data);
    ranges[name] = activationRange(histogram);
  }
  return { ranges, extremes };
}
