/** A trainer of its own process over Redis, for tests that kill it. Says `open` by IPC, and closes when it is told to. */
import { RedisQueue } from '../../src/jobs/redis/queue.js';
import { ModelStore } from '../../src/model/store.js';
import { options } from './fixtures.js';
import { TIMES } from './times.js';

const [dataDir, url, prefix, worker] = process.argv.slice(2);
const modelsDir = `${dataDir}/shipped`;
const real = { modelsDir, store: new ModelStore({ modelsDir, dataDir }) };
const workerUrl = new URL('./store-worker.js', import.meta.url);
// The attempt that is another's by then shall come as far as its publication.
const more = worker === 'store' ? { ...real, workerUrl, closeGraceMs: 60_000 } : {};
const queue = await RedisQueue.open({ ...options(dataDir, more), progressIntervalMs: 5, url, prefix, ...TIMES });
process.on('message', () => void queue.close().then(() => process.disconnect()));
process.send?.('open');
