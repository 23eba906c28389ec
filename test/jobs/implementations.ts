/** The two queues, so that one file of tests holds both to the same. */
import { basename } from 'node:path';
import { after, type TestContext } from 'node:test';
import type { JobQueue } from '../../src/jobs/job.js';
import type { QueueOptions } from '../../src/jobs/options.js';
import { RedisServer, withoutRedis } from '../support/redis-server.js';
import { FakeStore } from './fake-store.js';
import { closeWith, openQueue, options, temporaryFolder, until } from './fixtures.js';
import { TIMES } from './times.js';

export interface Opened {
  queue: JobQueue;
  dataDir: string;
  store: FakeStore;
}

export interface Implementation {
  name: string;
  /** Why it cannot be tested here, or false. */
  skip: string | false;
  /** Closed with the test; again over the same jobs where `dataDir` was one's of the same test. */
  open(t: TestContext, more?: Partial<QueueOptions>): Promise<Opened>;
}

let server: Promise<RedisServer> | null = null;
after(async () => (await server)?.stop());

/** One server for all tests of a file; each has a prefix of its own. */
export function sharedRedis(): Promise<RedisServer> {
  server ??= RedisServer.start();
  return server;
}

async function openRedis(t: TestContext, more: Partial<QueueOptions> = {}): Promise<Opened> {
  const { RedisQueue } = await import('../../src/jobs/redis/queue.js');
  const dataDir = more.dataDir ?? temporaryFolder(t);
  const { url } = await sharedRedis();
  const queue = await RedisQueue.open({ ...options(dataDir, more), url, prefix: basename(dataDir), ...TIMES });
  closeWith(t, queue);
  await until('Redis is there', () => queue.redis === 'up');
  return { queue, dataDir, store: new FakeStore(dataDir) };
}

export const IMPLEMENTATIONS: Implementation[] = [
  { name: 'the embedded queue', skip: false, open: openQueue },
  { name: 'the queue over Redis', skip: withoutRedis, open: openRedis },
];
