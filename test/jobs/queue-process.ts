/** A process of its own with a queue, for tests that kill it. Told what to do and answering by IPC. */
import { EmbeddedQueue } from '../../src/jobs/embedded.js';
import { options, request, type Script } from './fixtures.js';

export type Order = { kind: 'submit'; key: string; script: Script } | { kind: 'cancel'; id: string };
export type Answer =
  | { kind: 'open' }
  | { kind: 'refused'; message: string }
  | { kind: 'accepted'; key: string; id: string }
  | { kind: 'cancelled'; id: string };

const answer = (message: Answer): void => void process.send?.(message);

try {
  const more = JSON.parse(process.argv[3] ?? '{}') as { maxDeaths?: number };
  const queue = await EmbeddedQueue.open(options(process.argv[2], { progressIntervalMs: 5, ...more }));
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
