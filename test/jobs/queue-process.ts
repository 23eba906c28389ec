/** A process of its own with a queue, for tests that kill it. Told what to do and answering by IPC. */
import { EmbeddedQueue } from '../../src/jobs/embedded.js';
import type { TrainingOptions } from '../../src/training/trainer.js';
import { options, realOptions, request, type Script } from './fixtures.js';

export interface ChildOptions {
  maxDeaths?: number;
  /** The real worker with these options, in the place of the fake one. */
  training?: TrainingOptions;
}

export type Order = { kind: 'submit'; key: string; script: Script } | { kind: 'cancel'; id: string };
export type Answer =
  | { kind: 'open' }
  | { kind: 'refused'; message: string }
  | { kind: 'accepted'; key: string; id: string }
  | { kind: 'cancelled'; id: string };

const answer = (message: Answer): void => void process.send?.(message);

try {
  const dataDir = process.argv[2];
  const { training, ...more } = JSON.parse(process.argv[3] ?? '{}') as ChildOptions;
  const real = training === undefined ? {} : realOptions(dataDir, training);
  const queue = await EmbeddedQueue.open(options(dataDir, { progressIntervalMs: 5, ...more, ...real }));
  process.on('message', (order: Order) => {
    if (order.kind === 'submit') {
      void queue
        .submit(request(order.script), order.key)
        .then(({ job }) => answer({ kind: 'accepted', key: order.key, id: job.id }));
    } else {
      void queue.cancel(order.id).then(
        () => answer({ kind: 'cancelled', id: order.id }),
        () => undefined,
      );
    }
  });
  answer({ kind: 'open' });
} catch (error) {
  answer({ kind: 'refused', message: (error as Error).message });
  process.disconnect();
}
