/** LeNet-5 (LeCun et al. 1998) with ReLU and max pooling: 61 706 weights for 28×28 grey images and 10 classes. */
import { activation, conv2d, dense, flatten, maxPool, scaled, sequential } from './topology.js';

export function lenet(inputShape: readonly number[], classes: number, width = 1): Record<string, unknown> {
  return sequential('lenet', inputShape, [
    conv2d('conv1', scaled(6, width), 5, 'same', 'relu'),
    maxPool('pool1', 2),
    conv2d('conv2', scaled(16, width), 5, 'valid', 'relu'),
    maxPool('pool2', 2),
    flatten('flatten'),
    dense('dense1', scaled(120, width), 'relu'),
    dense('dense2', scaled(84, width), 'relu'),
    dense('logits', classes, 'linear'),
    activation('softmax', 'softmax'),
  ]);
}
