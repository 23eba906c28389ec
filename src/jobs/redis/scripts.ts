import { createHash } from 'node:crypto';
import type { Redis } from 'ioredis';

/**
 * What has to happen in Redis at once or not at all, so that a record, its place among the states and its event never
 * disagree, whichever process dies in between. Scripts run one at a time.
 */
export class Script {
  readonly #lua: string;
  readonly #digest: string;

  constructor(lua: string) {
    this.#lua = lua;
    this.#digest = createHash('sha1').update(lua).digest('hex');
  }

  /** Sends only the digest where the server has the script already. */
  async run(redis: Redis, keys: string[], values: (string | number)[]): Promise<unknown> {
    try {
      return await redis.evalsha(this.#digest, keys.length, ...keys, ...values);
    } catch (error) {
      if (!(error as Error).message.startsWith('NOSCRIPT')) throw error;
      return redis.eval(this.#lua, keys.length, ...keys, ...values);
    }
  }
}

/** Appends an event whose JSON has no id yet. */
const APPEND = `
local function append(job, stream, event, bound)
  local n = redis.call('HINCRBY', job, 'events', 1)
  local whole = '{"id":' .. n .. ',' .. string.sub(event, 2)
  redis.call('XADD', stream, 'MAXLEN', '~', bound, n .. '-0', 'event', whole)
  return whole
end
`;

/** Accepts a job: {'added'}, {'used', '<id> <hash>'}, {'full', waiting}, or {'behind', last id}. */
export const ADD = new Script(`${APPEND}
local job, events, states, queued, last, key, news = unpack(KEYS)
local id, record, most, event, bound, used = unpack(ARGV)
if used ~= '' then
  local before = redis.call('GET', key)
  if before then return {'used', before} end
end
local waiting = redis.call('ZCARD', queued)
if waiting >= tonumber(most) then return {'full', waiting} end
local newest = redis.call('GET', last) or ''
if id <= newest then return {'behind', newest} end
redis.call('SET', last, id)
redis.call('HSET', job, 'record', record, 'revision', 1, 'state', 'queued', 'attempts', 0, 'cancel', 0, 'events', 0)
if used ~= '' then
  redis.call('HSET', job, 'key', key)
  redis.call('SET', key, used)
end
redis.call('RPUSH', states, append(job, events, event, bound))
redis.call('ZADD', queued, 0, id)
redis.call('PUBLISH', news, id)
return {'added'}
`);

/** Saves a record over the revision that it was made from: 1; 0 where another one came first; -1 where the job is gone. */
export const SAVE = new Script(`${APPEND}
local job, events, states, from, to, finished, owner, news = unpack(KEYS)
local id, revision, record, state, attempts, cancel, finishedAt, event, bound = unpack(ARGV)
local found = redis.call('HGET', job, 'revision')
if not found then return -1 end
if found ~= revision then return 0 end
redis.call('HINCRBY', job, 'revision', 1)
redis.call('HSET', job, 'record', record, 'state', state, 'attempts', attempts, 'cancel', cancel)
if from ~= to then
  redis.call('ZREM', from, id)
  redis.call('ZADD', to, 0, id)
end
if state ~= 'running' then
  redis.call('HDEL', job, 'live')
  redis.call('DEL', owner)
end
if event ~= '' then redis.call('RPUSH', states, append(job, events, event, bound)) end
if finishedAt ~= '' then redis.call('ZADD', finished, finishedAt, id) end
redis.call('PUBLISH', news, id)
return 1
`);

/** Announces progress, where the attempt still has the job. */
export const ANNOUNCE = new Script(`${APPEND}
local job, events, backendKey, news = unpack(KEYS)
local id, attempts, live, event, bound, backend = unpack(ARGV)
local found = redis.call('HMGET', job, 'state', 'attempts')
if found[1] ~= 'running' or found[2] ~= attempts then return 0 end
append(job, events, event, bound)
redis.call('HSET', job, 'live', live)
if backend ~= '' then redis.call('SET', backendKey, backend) end
redis.call('PUBLISH', news, id)
return 1
`);

/** A sign of life of an attempt: 'lost' where the job is no longer its own, 'cancel' where it is to stop, else 'held'. */
export const BEAT = new Script(`
local job, owner = unpack(KEYS)
local attempts, trainer, ms = unpack(ARGV)
local found = redis.call('HMGET', job, 'state', 'attempts', 'cancel')
if found[1] ~= 'running' or found[2] ~= attempts then return 'lost' end
redis.call('SET', owner, trainer, 'PX', ms)
return found[3] == '1' and 'cancel' or 'held'
`);

/** Forgets the oldest finished jobs but for so many: their ids. Keys that are made here are in the slot of the others. */
export const PRUNE = new Script(`
local finished = KEYS[1]
local keep, root = tonumber(ARGV[1]), ARGV[2]
local over = math.min(redis.call('ZCARD', finished) - keep, 1000)
if over <= 0 then return {} end
local ids = redis.call('ZRANGE', finished, 0, over - 1)
for _, id in ipairs(ids) do
  local job = root .. ':job:' .. id
  local found = redis.call('HMGET', job, 'state', 'key')
  if found[1] then redis.call('ZREM', root .. ':in:' .. found[1], id) end
  if found[2] then redis.call('DEL', found[2]) end
  redis.call('DEL', job, root .. ':events:' .. id, root .. ':states:' .. id, root .. ':owner:' .. id)
  redis.call('ZREM', finished, id)
end
return ids
`);

/** Lets a lock go, or with a time holds it on, where it is still the holder's. */
export const HOLD = new Script(`
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then return redis.call('DEL', KEYS[1]) end
return redis.call('PEXPIRE', KEYS[1], ARGV[2])
`);
