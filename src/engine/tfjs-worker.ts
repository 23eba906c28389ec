import { loadBackend } from '../tensorflow/backend.js';
import { TfjsPlan } from './tfjs.js';
import { serveTasks } from './worker.js';

/** The thread of the `tfjs` engine: TF.js has one backend in it, and one queue before that. */
const { name } = await loadBackend();
serveTasks(`tfjs-${name}`, (plan) => new TfjsPlan(plan));
