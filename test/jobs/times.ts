/** Of the queue over Redis, short, so that the tests are. */
export const TIMES = { lockMs: 1500, beatMs: 200 };
