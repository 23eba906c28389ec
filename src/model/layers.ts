import { activation, dropout, relu, softmax } from './layers/activations.js';
import { batchNormalization, conv2d, dense, depthwiseConv2d } from './layers/linear.js';
import { type Convert, one } from './layers/operands.js';
import { globalAveragePooling, pool } from './layers/pooling.js';
import { addition, concatenate, flatten, input, reshape, zeroPadding } from './layers/structure.js';

/** Acts in training only, and not as plain dropout does. */
const identity: Convert = (layer, inputs) => {
  one(layer, inputs);
  return [];
};

/** Every layer class that is supported, by its name in TF.js Layers documents. */
export const LAYERS: ReadonlyMap<string, Convert> = new Map<string, Convert>([
  ['InputLayer', input],
  ['Conv2D', conv2d],
  ['DepthwiseConv2D', depthwiseConv2d],
  ['Dense', dense],
  ['BatchNormalization', batchNormalization],
  ['ReLU', relu],
  ['Activation', (layer, inputs) => activation(layer, one(layer, inputs), layer.name)],
  ['Softmax', softmax],
  ['MaxPooling2D', (layer, inputs) => pool(layer, inputs, 'max_pool')],
  ['AveragePooling2D', (layer, inputs) => pool(layer, inputs, 'avg_pool')],
  ['GlobalAveragePooling2D', globalAveragePooling],
  ['Add', addition],
  ['Concatenate', concatenate],
  ['ZeroPadding2D', zeroPadding],
  ['Flatten', flatten],
  ['Reshape', reshape],
  ['Dropout', dropout],
  ['SpatialDropout2D', identity],
  ['GaussianDropout', identity],
  ['GaussianNoise', identity],
]);
