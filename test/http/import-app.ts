/** The app over a real store, a real importer and a real engine, in folders of its own. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { TestContext } from 'node:test';
import { createEngine } from '../../src/engine/select.js';
import { Importer } from '../../src/importing/importer.js';
import { ModelStore } from '../../src/model/store.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { createPredictionService } from '../../src/serving/service.js';
import { AUTHORIZATION, type TestApp, testApp, testConfig } from './app.js';

export interface ImportApp extends Pick<TestApp, 'app' | 'http'> {
  store: ModelStore;
  dataDir: string;
  /** `POST /admin/models` with the token. */
  post(query?: string): ReturnType<TestApp['http']['post']>;
}

export async function importApp(t: TestContext, maxModelBytes = 64_000_000): Promise<ImportApp> {
  const root = mkdtempSync(join(tmpdir(), 'bitdial-imports-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const [modelsDir, dataDir] = [join(root, 'models'), join(root, 'data')];
  const config = testConfig({ modelsDir, dataDir });
  const store = new ModelStore({ modelsDir, dataDir });
  const engine = await createEngine({ engine: 'auto', threads: 1 });
  const service = createPredictionService({ config, store, engine, energyTable: HOROWITZ_45NM });
  t.after(async () => {
    await service.close();
    await engine.close();
  });
  const maxImagePixels = 10_000_000;
  const importer = new Importer({
    modelsDir,
    dataDir,
    store,
    energyTable: HOROWITZ_45NM,
    maxImagePixels,
    maxModelBytes,
  });
  const { app, http } = await testApp(t, { store: store as never, importer, service, config });
  const post = (query = '') => http.post(`/admin/models${query}`).set('authorization', AUTHORIZATION);
  return { app, http, store, dataDir, post };
}
