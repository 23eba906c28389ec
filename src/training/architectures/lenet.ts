/** LeNet-5 (LeCun et al. 1998) with ReLU and max pooling: 61 706 weights for 28×28 grey images and 10 classes. */
import { activation, conv2d, dense, flatten, maxPool, sequential } from './topology.js';

export function lenet(inputShape: readonly number[], classes: number): Record<string, unknown> {
  return sequential('lenet', inputShape, [
    conv2d('conv1', 6, 5, 'same', 'relu'),
    maxPool('pool1', 2),
    conv2d('conv2', 16, 5, 'valid', 'relu'),
    maxPool('pool2', 2),
    flatten('flatten'),
    dense('dense1', 120, 'relu'),
    dense('dense2', 84, 'relu'),
    dense('logits', classes, 'linear'),
    activation('softmax', 'softmax'),
  ]);
}
