/**
 * MobileNetV2 (Sandler et al. 2018) for small images: inverted residuals of expansion 6 with ReLU6, the paper's stages up to
 * 96 channels, with fewer blocks, half the stem and without the first strides. A block expands by a 1×1
 * convolution, filters each channel 3×3 and projects linearly; it is added to its input where the shapes are equal.
 * 395 722 weights for 32×32×3 and 10 classes, 13 million MACs.
 */
import {
  activation,
  add,
  batchNorm,
  conv2d,
  dense,
  depthwiseConv2d,
  functional,
  globalAvgPool,
  type Placed,
  relu6,
  scaled,
} from './topology.js';

interface Stage {
  expansion: number;
  channels: number;
  blocks: number;
  /** Of the first block. */
  stride: number;
}

const STEM = 16;
const STAGES: Stage[] = [
  { expansion: 1, channels: 16, blocks: 1, stride: 1 },
  { expansion: 6, channels: 24, blocks: 2, stride: 2 },
  { expansion: 6, channels: 32, blocks: 2, stride: 2 },
  { expansion: 6, channels: 64, blocks: 3, stride: 2 },
  { expansion: 6, channels: 96, blocks: 2, stride: 1 },
];
const HEAD = 384;

export function mobilenetSmall(inputShape: readonly number[], classes: number, width = 1): Record<string, unknown> {
  return functional('mobilenet-small', inputShape, (input) => {
    const pointwise = (x: Placed, name: string, channels: number) =>
      x.to(conv2d(`${name}_conv`, channels, 1, 'same', 'linear', { bias: false })).to(batchNorm(`${name}_bn`));
    const stem = scaled(STEM, width);
    let x = input.to(conv2d('stem_conv', stem, 3, 'same', 'linear', { bias: false }));
    x = x.to(batchNorm('stem_bn')).to(relu6('stem_relu'));
    let inputs = stem;
    for (const [s, { expansion, channels, blocks, stride: first }] of STAGES.entries()) {
      const outputs = scaled(channels, width);
      for (let block = 0; block < blocks; block++) {
        const name = `stage${s + 1}_block${block + 1}`;
        const stride = block === 0 ? first : 1;
        const expanded =
          expansion === 1 ? x : pointwise(x, `${name}_expand`, expansion * inputs).to(relu6(`${name}_expand_relu`));
        const filtered = expanded
          .to(depthwiseConv2d(`${name}_depthwise_conv`, 3, 'same', { stride, bias: false }))
          .to(batchNorm(`${name}_depthwise_bn`))
          .to(relu6(`${name}_depthwise_relu`));
        const projected = pointwise(filtered, `${name}_project`, outputs);
        x = stride === 1 && inputs === outputs ? projected.with(x, add(`${name}_add`)) : projected;
        inputs = outputs;
      }
    }
    return pointwise(x, 'head', scaled(HEAD, width))
      .to(relu6('head_relu'))
      .to(globalAvgPool('pool'))
      .to(dense('logits', classes, 'linear'))
      .to(activation('softmax', 'softmax'));
  });
}
