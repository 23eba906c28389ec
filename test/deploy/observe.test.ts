/** What docker-compose.observe.yml adds has to fit what it is laid over, and what it mounts. */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { PROJECT_ROOT } from '../../src/config.js';

const read = (path: string) => readFileSync(join(PROJECT_ROOT, path), 'utf8');
const base = read('docker-compose.yml');
const observe = read('docker-compose.observe.yml');

test('every process of docker-compose.yml is traced, and scraped where it listens', () => {
  const processes = [...base.matchAll(/^ {2}([\w-]+):\n {4}<<: \*bitdial$/gm)].map(([, name]) => name);
  assert.ok(processes.length >= 3);
  const traced = [...observe.matchAll(/^ {2}([\w-]+): \*traced$/gm)].map(([, name]) => name);
  assert.deepEqual(traced, processes);
  const [, targets] = /targets: \[(.*)\]/.exec(read('deploy/prometheus/compose.yml')) ?? [];
  assert.deepEqual(
    targets.split(', '),
    processes.map((name) => `'${name}:3000'`),
  );
});

test('what is mounted is there, on networks that are there', () => {
  const mounts = [...observe.matchAll(/- \.\/([^:]+):/g)].map(([, path]) => path);
  assert.ok(mounts.length >= 4);
  for (const path of mounts) assert.ok(existsSync(join(PROJECT_ROOT, path)), path);
  for (const [, names] of observe.matchAll(/networks: \[(.*)\]/g))
    for (const name of names.split(', ')) assert.match(base, new RegExp(`^ {2}${name}:`, 'm'));
});

test('the two Prometheus files differ in what they scrape alone', () => {
  const rest = (text: string) => text.replace(/targets: .*/, '').replace(/^#.*/, '');
  assert.equal(rest(read('deploy/prometheus/compose.yml')), rest(read('deploy/prometheus/prometheus.yml')));
});
