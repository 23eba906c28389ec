import { ServiceError } from '../../errors.js';
import { lenet } from './lenet.js';
import { mobilenetSmall } from './mobilenet.js';
import { resnet20 } from './resnet.js';
import { vggSmall } from './vgg.js';

/**
 * Gives a TF.js Layers document for images [height, width, channels] and a number of classes.
 * @param width factor on the channels and units of every hidden layer, see `scaled`
 */
export type Architecture = (inputShape: readonly number[], classes: number, width?: number) => Record<string, unknown>;

/** The built-in architectures, by the name a request gives. */
export const ARCHITECTURES: Record<string, Architecture> = {
  lenet,
  'vgg-small': vggSmall,
  'resnet-20': resnet20,
  'mobilenet-small': mobilenetSmall,
};

/** Pixels of a side at least: three halvings leave 2×2. */
const LEAST_SIDE = 16;

/**
 * The topology of a built-in architecture.
 * @throws ServiceError invalid_field for a name that is not built in, and for images below 16×16
 */
export function builtIn(
  name: string,
  inputShape: readonly number[],
  classes: number,
  width: number,
): Record<string, unknown> {
  const architecture = findArchitecture(name);
  const [height, across] = inputShape;
  if (Math.min(height, across) < LEAST_SIDE) {
    const expected = `images of at least ${LEAST_SIDE}×${LEAST_SIDE}`;
    const actual = `${height}×${across}`;
    throw new ServiceError('invalid_field', `architecture: ${name}: expected ${expected}, got ${actual}`, {
      field: 'architecture',
      expected,
      actual,
    });
  }
  return architecture(inputShape, classes, width);
}

/** ServiceError invalid_field for a name that is not built in. */
function findArchitecture(name: string): Architecture {
  if (Object.hasOwn(ARCHITECTURES, name)) return ARCHITECTURES[name];
  const expected = Object.keys(ARCHITECTURES).join(', ');
  throw new ServiceError(
    'invalid_field',
    `architecture: expected one of ${expected}, or a TF.js Layers topology, got ${JSON.stringify(name)}`,
    { field: 'architecture', expected, actual: name },
  );
}
