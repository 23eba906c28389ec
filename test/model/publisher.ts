/** A process of the store's tests: publishes versions with the marks from..to−1 and says each number as it gets it. */
import { ModelStore } from '../../src/model/store.js';
import { newVersion } from './versions.js';

const [modelsDir, dataDir, from, to] = process.argv.slice(2);
const store = new ModelStore({ modelsDir, dataDir });
process.stdout.write('ready\n');
for (let mark = Number(from); mark < Number(to); mark++) {
  const { version } = await store.publish(newVersion(mark), { makeCurrent: true });
  process.stdout.write(`${mark} ${version}\n`);
}
