/**
 * ResNet-20 for small images (He et al. 2016, section 4.2): 3×3 convolutions in three stages of three blocks, of 16, 32 and 64
 * channels, each stage but the first at half the resolution. A shortcut that changes shape is a 1×1 convolution.
 * 272 474 weights for 32×32×3 and 10 classes, 41 million MACs.
 */
import {
  activation,
  add,
  batchNorm,
  conv2d,
  dense,
  functional,
  globalAvgPool,
  type Placed,
  scaled,
} from './topology.js';

const STAGES = [16, 32, 64];
const BLOCKS = 3;

export function resnet20(inputShape: readonly number[], classes: number, width = 1): Record<string, unknown> {
  const stages = STAGES.map((channels) => scaled(channels, width));
  return functional('resnet-20', inputShape, (input) => {
    const conv = (x: Placed, name: string, filters: number, size: number, stride: number) => {
      const layer = conv2d(`${name}_conv`, filters, size, 'same', 'linear', { stride, bias: false });
      return x.to(layer).to(batchNorm(`${name}_bn`));
    };
    let x = conv(input, 'stem', stages[0], 3, 1).to(activation('stem_relu', 'relu'));
    for (const [stage, filters] of stages.entries()) {
      for (let block = 0; block < BLOCKS; block++) {
        const name = `stage${stage + 1}_block${block + 1}`;
        const stride = stage > 0 && block === 0 ? 2 : 1;
        const inner = conv(x, `${name}_a`, filters, 3, stride).to(activation(`${name}_a_relu`, 'relu'));
        const residual = conv(inner, `${name}_b`, filters, 3, 1);
        const shortcut = stride === 1 ? x : conv(x, `${name}_shortcut`, filters, 1, stride);
        x = residual.with(shortcut, add(`${name}_add`)).to(activation(`${name}_relu`, 'relu'));
      }
    }
    return x
      .to(globalAvgPool('pool'))
      .to(dense('logits', classes, 'linear'))
      .to(activation('softmax', 'softmax'));
  });
}
