import { ServiceError } from '../errors.js';
import type { InputSpec } from '../model/manifest.js';

type Form = Pick<InputSpec, 'range' | 'channel_ranges' | 'channel_order'>;

/** Means and deviations of ImageNet's pixels, 0..1, red, green, blue: those of torchvision and of Keras's `torch` mode. */
const IMAGENET = { mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225] };
/** Means that Keras's `caffe` mode takes from blue, green, red, 0..255. */
const CAFFE = [103.939, 116.779, 123.68];

const torch = IMAGENET.mean.map((mean, c): [number, number] => {
  return [-mean / IMAGENET.deviation[c], (1 - mean) / IMAGENET.deviation[c]];
});
const caffe = CAFFE.map((mean): [number, number] => [-mean, 255 - mean]);

/** What becomes of pixels before the net, by the names that Keras and others give it. */
export const PREPROCESSINGS = {
  /** p/255 */
  unit: { range: [0, 1] },
  /** p as it is: nets that scale by themselves. */
  none: { range: [0, 255] },
  /** p/127.5 − 1: MobileNet, MobileNetV2, Inception, Xception, NASNet, ResNetV2. */
  tf: { range: [-1, 1] },
  mobilenet: { range: [-1, 1] },
  /** (p/255 − mean)/deviation: DenseNet, and most nets that came from PyTorch. */
  torch: { range: around(torch), channel_ranges: torch },
  /** Blue, green, red, less a mean: VGG, ResNet of 2015. */
  caffe: { range: around(caffe), channel_ranges: caffe, channel_order: 'bgr' },
} as const satisfies Record<string, Form>;

export type Preprocessing = keyof typeof PREPROCESSINGS;

/** The least interval that holds all. */
function around(ranges: [number, number][]): [number, number] {
  return [Math.min(...ranges.map(([low]) => low)), Math.max(...ranges.map(([, high]) => high))];
}

/** @throws ServiceError invalid_field where the preprocessing is one of three channels and the model has others */
export function inputForm(preprocessing: Preprocessing, channels: number): Form {
  const form: Form = PREPROCESSINGS[preprocessing];
  if (form.channel_ranges !== undefined && channels !== form.channel_ranges.length) {
    const expected = 'one that treats all channels alike (unit, none, tf, mobilenet)';
    const detail = `preprocessing: expected ${expected} for a model of ${channels} channels, got "${preprocessing}"`;
    throw new ServiceError('invalid_field', detail, { field: 'preprocessing', expected, actual: preprocessing });
  }
  return form;
}
