import assert from 'node:assert/strict';
import { it } from 'node:test';
import { Attempt } from '../../src/jobs/attempt.js';
import { JobIds } from '../../src/jobs/identifier.js';
import { DEFAULTS } from '../../src/jobs/options.js';
import type { JobRecord } from '../../src/jobs/record.js';
import { accepted } from '../../src/jobs/transitions.js';
import { hashOf } from '../../src/model/digest.js';
import { keepingLogger, options, request, temporaryFolder } from './fixtures.js';

it('an attempt that has ended is no one else’s: to hear that it is not running costs it nothing', async (t) => {
  const logger = keepingLogger();
  const given = { ...DEFAULTS, training: {}, ...options(temporaryFolder(t), { logger }) };
  let record: JobRecord = accepted(new JobIds().next(), request(), null, hashOf(request()));
  const attempt: Attempt = new Attempt(
    record.job,
    {
      async update(_id, change) {
        record = change(record) ?? record;
        // As the news of the change may, over another connection: before the answer to who made it.
        if (record.job.state === 'succeeded') attempt.lose();
        return record;
      },
      announceProgress: async () => undefined,
      checkpointPath: () => '',
    },
    given,
  );
  await attempt.done;
  assert.equal(record.job.state, 'succeeded');
  assert.deepEqual(
    logger.lines.filter(({ level }) => level === 'warn'),
    [],
  );
});
