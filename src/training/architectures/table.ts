import { ServiceError } from '../../errors.js';
import { lenet } from './lenet.js';
import { resnet20 } from './resnet.js';

/** Gives a TF.js Layers document for images [height, width, channels] and a number of classes. */
export type Architecture = (inputShape: readonly number[], classes: number) => Record<string, unknown>;

/** The built-in architectures, by the name a request gives. */
export const ARCHITECTURES: Record<string, Architecture> = { lenet, 'resnet-20': resnet20 };

/** ServiceError invalid_field for a name that is not built in. */
export function findArchitecture(name: string): Architecture {
  if (Object.hasOwn(ARCHITECTURES, name)) return ARCHITECTURES[name];
  const expected = Object.keys(ARCHITECTURES).join(', ');
  throw new ServiceError(
    'invalid_field',
    `architecture: expected one of ${expected}, or a TF.js Layers topology, got ${JSON.stringify(name)}`,
    { field: 'architecture', expected, actual: name },
  );
}
