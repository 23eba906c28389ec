/** The balancer's template and the compose file that fills it in are two files: they have to agree. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { ERRORS } from '../../src/errors.js';
import { SETTINGS } from '../../src/settings.js';

const read = (path: string) => readFileSync(fileURLToPath(new URL(`../../../${path}`, import.meta.url)), 'utf8');
const template = read('deploy/nginx/nginx.conf.template');
const compose = read('docker-compose.yml');
const names = new Set([...template.matchAll(/\$\{(\w+)\}/g)].map(([, name]) => name));
/** Of the service `name`, as text. */
const service = (name: string) => new RegExp(`^  ${name}:\\n((?: {4}.*\\n|\\n)+)`, 'm').exec(compose)?.[1] ?? '';

test('docker-compose.yml gives every name of the template, and envsubst may put it in', () => {
  const balancer = service('balancer');
  const filter = /NGINX_ENVSUBST_FILTER: (\S+)/.exec(balancer)?.[1].replaceAll('$$', '$') ?? '';
  assert.ok(names.size >= 8);
  for (const name of names) {
    assert.match(balancer, new RegExp(`^ {6}${name}:`, 'm'), name);
    assert.match(name, new RegExp(filter), name);
  }
  // nginx's own variables must survive
  for (const [, own] of template.matchAll(/\$([a-z]\w*)/g)) assert.doesNotMatch(own, new RegExp(filter));
});

test('every replica of docker-compose.yml is in every upstream', () => {
  const replicas = [...compose.matchAll(/^ {6}REPLICA_\d+: ([\w-]+):3000$/gm)].map(([, name]) => name);
  assert.deepEqual(
    replicas,
    [...compose.matchAll(/^ {2}(replica-\d+):$/gm)].map(([, name]) => name),
  );
  const upstreams = [...template.matchAll(/^ {4}upstream (\w+) \{\n([^}]*(?:\$\{\w+\}[^}]*)*)^ {4}\}/gm)];
  assert.deepEqual(
    upstreams.map(([, name]) => name),
    ['own', 'any', 'once'],
  );
  for (const [, name, body] of upstreams) {
    for (const i of replicas.keys())
      assert.ok(body.includes(`server \${REPLICA_${i + 1}} `), `${name}: replica ${i + 1}`);
  }
});

test('limits are those of the replicas', () => {
  const balancer = service('balancer');
  const given = (name: string) => new RegExp(`^ {6}${name}: (?:\\$\\{\\w+:-)?([\\w-]+)\\}?$`, 'm').exec(balancer)?.[1];
  assert.equal(given('MAX_BODY_BYTES'), SETTINGS.maxBodyBytes.default);
  assert.equal(given('DEFAULT_MODEL'), SETTINGS.defaultModel.default);
  assert.ok(Number(given('REPLICA_CONNECTIONS')) < Number(SETTINGS.maxQueue.default));
});

test('the balancer’s errors have the titles and codes of the service’s', () => {
  const documents = [...template.matchAll(/'(\{"type":.*\})';/g)].map(([, text]) => JSON.parse(text));
  assert.equal(documents.length, 4);
  for (const { code, title, status, type } of documents) {
    assert.deepEqual([status, title], ERRORS[code as keyof typeof ERRORS]);
    assert.equal(type, `urn:bitdial:problem:${code}`);
  }
});
