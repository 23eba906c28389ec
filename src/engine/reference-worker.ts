import { runPlan } from './reference.js';
import { serveTasks } from './worker.js';

/** A thread of the reference engine. */
serveTasks('reference', (plan) => ({ run: (input, batch) => runPlan(plan, input, batch) }));
