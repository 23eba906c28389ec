/** The data set of a training: opened as the net takes it, with what the request says about its use. */
import { ServiceError } from '../errors.js';
import { importGraph } from '../model/import.js';
import type { InputSpec } from '../model/manifest.js';
import { weightsOfClasses } from './datasets/class-weights.js';
import type { OpenDataset, OpenOptions } from './datasets/dataset.js';
import { findDataset } from './datasets/table.js';
import type { StartingPoint, TrainRequest } from './request.js';

export type TrainingData = OpenDataset & Required<Pick<OpenDataset, 'lossWeights'>>;

export interface DataOptions extends Pick<OpenOptions, 'maxImagePixels' | 'maxBytes' | 'onProgress' | 'isCancelled'> {
  dataDir?: string;
}

/** The caller closes it. @throws ServiceError `invalid_field`, `bad_dataset`; TrainingCancelled */
export async function openData(
  request: TrainRequest,
  start: StartingPoint | undefined,
  { dataDir, ...options }: DataOptions,
): Promise<TrainingData> {
  const dataset = await findDataset(
    request.dataset,
    dataDir,
  )({
    ...options,
    input: inputOf(request, start),
    imageSize: request.image_size ?? undefined,
    labels: start?.labels,
    validationShare: request.validation_share ?? undefined,
  });
  try {
    const augmentation = { ...dataset.augmentation, ...request.augmentation };
    const [height, width] = dataset.inputShape;
    if (augmentation.shift >= Math.min(height, width)) {
      throw shiftFault(`less than the side of the images, ${height}×${width}`, augmentation.shift);
    }
    return { ...dataset, augmentation, lossWeights: lossWeights(request, dataset) };
  } catch (error) {
    dataset.close();
    throw error;
  }
}

/** What is known of the net's input before the data set: all of it for a version's, the shape for a topology's. */
function inputOf({ architecture }: TrainRequest, start?: StartingPoint): Partial<InputSpec> | undefined {
  if (start?.input !== undefined) return start.input;
  if (start === undefined && typeof architecture === 'string') return undefined;
  const { nodes, input } = start?.graph ?? importGraph(architecture);
  const shape = nodes.find((node) => node.name === input)?.shape ?? [];
  return shape.length === 3 ? { shape: shape as InputSpec['shape'] } : undefined;
}

function lossWeights(request: TrainRequest, { labels, train, classWeights }: OpenDataset): Float32Array | null {
  const wanted = request.class_weights ?? classWeights;
  if (wanted === null || wanted === 'none') return null;
  const examples = Math.min(train.size, request.limit ?? Number.POSITIVE_INFINITY);
  const counts = new Uint32Array(labels.length);
  for (let i = 0; i < examples; i++) counts[train.labelOf(i)]++;
  return weightsOfClasses(wanted, labels, counts);
}

function shiftFault(expected: string, actual: number): ServiceError {
  const field = 'augmentation.shift';
  return new ServiceError('invalid_field', `${field}: expected ${expected}, got ${actual}`, {
    field,
    expected,
    actual,
  });
}
