/**
 * A VGG for small images: 3×3 convolutions with batch norm, 64, 2×128 and 2×256 channels, each stage halved by max pooling, then
 * one dense layer. The first five convolutions of VGG-11 (Simonyan and Zisserman 2015), the second stage doubled, as in the VGG-like
 * nets that low-bit work measures on CIFAR-10 (2×128, 2×256, 2×512, two dense layers; Hubara et al. 2016) at half the
 * channels. 1 150 282 weights for 32×32×3 and 10 classes, 115 million MACs.
 */
import { activation, batchNorm, conv2d, dense, flatten, maxPool, scaled, sequential } from './topology.js';

const STAGES = [[64], [128, 128], [256, 256]];

export function vggSmall(inputShape: readonly number[], classes: number, width = 1): Record<string, unknown> {
  const stages = STAGES.flatMap((stage, s) => [
    ...stage.flatMap((channels, c) => {
      const name = `stage${s + 1}_${c + 1}`;
      return [
        conv2d(`${name}_conv`, scaled(channels, width), 3, 'same', 'linear', { bias: false }),
        batchNorm(`${name}_bn`),
        activation(`${name}_relu`, 'relu'),
      ];
    }),
    maxPool(`stage${s + 1}_pool`, 2),
  ]);
  return sequential('vgg-small', inputShape, [
    ...stages,
    flatten('flatten'),
    dense('logits', classes, 'linear'),
    activation('softmax', 'softmax'),
  ]);
}
