/** Studies and records for the tests of this folder. */
import type { Outcome, RunRecord } from '../../src/reproduction/record.js';
import { PRECISIONS } from '../../src/reproduction/record.js';
import type { Study } from '../../src/reproduction/study.js';

export function studyIn(folder: string, changes: Partial<Study> = {}): Study {
  return {
    dataset: 'cifar10',
    net: 'resnet-20',
    width: 1,
    mode: 'fine-tuned',
    seeds: [1, 2],
    methods: ['plain', 'gradient-l1-medium'],
    baseEpochs: 30,
    epochs: 6,
    limit: null,
    testLimit: null,
    base: null,
    folder,
    ...changes,
  };
}

/** @param first accuracy of float under ours; each precision after it is 0.01 less, and min-max 0.1 less than that */
export function outcome(first: number, version: number): Outcome {
  const ladder = (top: number) =>
    Object.fromEntries(PRECISIONS.map((key, i) => [key, Math.round((top - 0.01 * i) * 1e4) / 1e4]));
  return {
    version: { version, digest: `digest-${version}` },
    accuracies: { ours: ladder(first), 'min-max': { ...ladder(first - 0.1), '32x32': first } },
    images: 10_000,
    examples: 47_500,
    backend: 'tensorflow',
    duration_s: 360,
    history: [{ epoch: 0, loss: 1 }],
  };
}

export function record(method: string, seed: number, first: number, changes: Partial<RunRecord> = {}): RunRecord {
  const isBase = method === 'base';
  return {
    format: 'bitdial-reproduction/1',
    created: '2025-01-01T00:00:00.000Z',
    dataset: 'cifar10',
    net: 'resnet-20',
    width: 1,
    mode: 'fine-tuned',
    seed,
    method,
    epochs: isBase ? 30 : 6,
    base_epochs: isBase ? 0 : 30,
    test_limit: null,
    base: isBase ? null : { version: 1, digest: 'digest-1' },
    body: { seed },
    given: null,
    command: `npm run train -- --method ${method} --seed ${seed}`,
    reproduction: 'npm run reproduce -- cifar10 --seeds 2',
    commit: '0123456789abcdef',
    ...outcome(first, 1),
    ...changes,
  };
}
