import { DEFAULTS, type QueueOptions } from '../options.js';

export interface RedisQueueOptions extends QueueOptions {
  /** redis:// or rediss:// */
  url: string;
  /** Before every key. */
  prefix?: string;
  /** Whether this process trains, or only gives jobs to those that do. */
  trains?: boolean;
  /** Milliseconds after which the job of a trainer that fell silent may go to another one. */
  lockMs?: number;
  /** Milliseconds between two signs of life of a running attempt. */
  beatMs?: number;
}

export const REDIS_DEFAULTS = { ...DEFAULTS, prefix: 'bitdial', trains: true, lockMs: 15_000, beatMs: 2000 };
