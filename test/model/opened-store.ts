/** Stores for tests, over folders of their own. */
import { join } from 'node:path';
import { ModelStore } from '../../src/model/store.js';
import { temporaryFolder } from './folders.js';
import { newVersion } from './versions.js';

export async function openStore() {
  const folder = await temporaryFolder();
  const warnings: string[] = [];
  const logger = { warn: (_: unknown, message: string) => void warnings.push(message) };
  const options = { modelsDir: join(folder, 'shipped'), dataDir: join(folder, 'data'), logger };
  const store = new ModelStore(options);
  return { store, options, warnings, written: join(folder, 'data', 'models') };
}

export const publish = (store: ModelStore, mark: number, makeCurrent = true) =>
  store.publish(newVersion(mark), { makeCurrent });
export const current = async (store: ModelStore) => (await store.get('tiny')).version;
