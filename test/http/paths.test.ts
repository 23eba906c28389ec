/** Names that would leave the folders of models, on every route that takes one. */
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { type IncomingMessage, request } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { type TestContext, test } from 'node:test';
import type { App } from '../../src/http/types.js';
import { ModelStore } from '../../src/model/store.js';
import { HOROWITZ_45NM } from '../../src/quantize/energy.js';
import { createPredictionService } from '../../src/serving/service.js';
import { AUTHORIZATION, testApp, testConfig } from './app.js';
import { flat } from './bad-lines.js';
import { InlineEngine, tinyNewVersion } from './tiny.js';

/**
 * `tiny` where models are, and beside that folder `outside`, a whole model too: a name that led to it would be answered
 * with a 2xx.
 */
async function appWithDecoy(t: TestContext) {
  const root = mkdtempSync(join(tmpdir(), 'bitdial-paths-'));
  t.after(() => rmSync(root, { recursive: true, force: true }));
  const [modelsDir, dataDir] = [join(root, 'models'), join(root, 'data')];
  for (const [folder, name] of [
    [modelsDir, 'tiny'],
    [root, 'outside'],
    [dataDir, 'outside'],
  ]) {
    const decoy = new ModelStore({ modelsDir: folder, writeTo: 'models' });
    await decoy.publish(tinyNewVersion(name), { makeCurrent: true });
    await decoy.setLabel(name, 'canary', 1);
  }
  const config = testConfig({ modelsDir, dataDir });
  const store = new ModelStore({ modelsDir, dataDir });
  const service = createPredictionService({ config, store, engine: new InlineEngine(), energyTable: HOROWITZ_45NM });
  t.after(() => service.close());
  const { app } = await testApp(t, { config, service, store: store as never });
  const listing = () => readdirSync(root, { recursive: true }).sort();
  return { app, root, listing };
}

/** The path goes out as it is written; a client library would tidy it up. */
async function send(app: App, method: string, path: string, body: object | undefined) {
  const { port } = app.server.address() as AddressInfo;
  const headers = { authorization: AUTHORIZATION, ...(body && { 'content-type': 'application/json' }) };
  const sent = request({ port, host: '127.0.0.1', method, path, headers }).end(body && JSON.stringify(body));
  const [response] = (await once(sent, 'response')) as [IncomingMessage];
  return { status: response.statusCode ?? 0, body: await text(response) };
}

const tensor = { name: 'input', shape: [1, 4, 4, 1], datatype: 'FP32', data: flat };

/** What makes each operation succeed, where it takes a name. */
const BODIES: Record<string, object> = {
  setCurrent: { version: 1 },
  setLabel: { label: 'canary', version: 1 },
  predict: { instances: [flat] },
  infer: { inputs: [tensor] },
  tfPredict: { instances: [flat] },
  tfClassify: { examples: [{ input: flat }] },
};
const bodyOf = (id: string) => BODIES[id] ?? BODIES[id.replace(/(Model|Version|Label)$/, '')];

test('no name leads out of the folders of models, on any route', async (t) => {
  const { app, root, listing } = await appWithDecoy(t);
  const routes: [method: string, id: string, path: string][] = [['post', 'predict', '/predict?model={model}']];
  for (const [path, methods] of Object.entries(app.swagger().paths ?? {})) {
    if (!path.includes('{model}')) continue;
    const whole = path.replace('{version}', '1').replace('{label}', 'canary');
    for (const [method, operation] of Object.entries(methods as Record<string, { operationId: string }>)) {
      routes.push([method, operation.operationId, whole]);
    }
  }
  assert.ok(routes.length >= 17, `${routes.length}`);
  for (const [method, id, path] of routes) {
    const { status, body } = await send(app, method, path.replace('{model}', 'tiny'), bodyOf(id));
    assert.ok(status >= 200 && status < 300, `${method} ${path} ${status}: ${body}`);
  }

  const names = [
    '.',
    '..',
    '%2e',
    '%2e%2e',
    '../outside',
    '..%2foutside',
    '..%2Foutside',
    '%2e%2e%2foutside',
    '..%5coutside',
    '..%252foutside',
    '....%2f%2foutside',
    'tiny%2f..%2f..%2foutside',
    'tiny/../../outside',
    './tiny',
    'tiny%00',
    '%00',
    '..%00%2foutside',
    'tiny%0a',
    'tiny.',
    'tiny%20',
    'TINY',
    `${encodeURIComponent(join(root, 'outside'))}`,
    join(root, 'outside'),
    'file:%2f%2f%2fetc%2fpasswd',
    // look-alikes: one-dot leaders, full-width dots and stroke, fraction and division strokes, overlong UTF-8, a Cyrillic i
    encodeURIComponent('․․/outside'),
    encodeURIComponent('．．／outside'),
    encodeURIComponent('..⁄outside'),
    encodeURIComponent('..∕outside'),
    '%c0%ae%c0%ae%c0%afoutside',
    encodeURIComponent('tіny'),
    encodeURIComponent('tiny\u202e'),
    '~',
    '*',
    '__proto__',
    'constructor',
  ];
  const before = listing();
  for (const [method, id, path] of routes) {
    for (const name of names) {
      const where = path.replace('{model}', name);
      const { status, body } = await send(app, method, where, bodyOf(id));
      assert.ok(status >= 400 && status < 500, `${method} ${where} ${status}: ${body}`);
      const given = name.includes('bitdial-paths');
      assert.ok(given || !body.includes(root), `${method} ${where}: tells where the models lie: ${body}`);
    }
  }
  const after = listing();
  assert.deepEqual(after, before, 'a refused name writes nothing');
});
