/** The nets whose training steps are measured, as TF.js Layers documents, with their batches. */
import { lenet } from '../dist/src/training/architectures/lenet.js';
import { resnet20 } from '../dist/src/training/architectures/resnet.js';
import {
  activation,
  conv2d,
  dense,
  flatten,
  maxPool,
  sequential,
} from '../dist/src/training/architectures/topology.js';

const CLASSES = 10;
const COLOUR = [32, 32, 3];

/** 3×3 convolutions of 32, 32, 64, 64, 128 and 128 channels, pooled after every second, then 128 units. */
function vgg() {
  const stages = [32, 64, 128].flatMap((channels) => [
    conv2d(`conv${channels}_1`, channels, 3, 'same', 'relu'),
    conv2d(`conv${channels}_2`, channels, 3, 'same', 'relu'),
    maxPool(`pool${channels}`, 2),
  ]);
  const head = [dense('hidden', 128, 'relu'), dense('logits', CLASSES, 'linear'), activation('softmax', 'softmax')];
  return sequential('vgg', COLOUR, [...stages, flatten('flatten'), ...head]);
}

export const TRAINING_NETS = {
  lenet: { shape: [28, 28, 1], batch: 64, document: () => lenet([28, 28, 1], CLASSES) },
  vgg: { shape: COLOUR, batch: 128, document: vgg },
  'resnet-20': { shape: COLOUR, batch: 128, document: () => resnet20(COLOUR, CLASSES) },
};
