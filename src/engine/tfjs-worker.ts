import { loadBackend } from '../tensorflow/backend.js';
import { TfjsPlan } from './tfjs.js';
import { serveTasks } from './worker.js';

/** The thread of the `tfjs` engine: TF.js has one backend in it, and one queue before that. It shares no kernel with the native engine. */
const { name } = await loadBackend('auto', { kernels: 'plain' });
serveTasks(`tfjs-${name}`, (plan) => new TfjsPlan(plan));
