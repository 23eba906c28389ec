import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { pages } from '../../src/cli/docs.js';
import { PROJECT_ROOT } from '../../src/config.js';

test('the generated pages in docs/ are current', async () => {
  const generated = Object.entries(await pages());
  assert.deepEqual(generated.map(([name]) => name).sort(), ['CONFIG.md', 'METRICS.md', 'openapi.json']);
  for (const [name, text] of generated) {
    const committed = readFileSync(join(PROJECT_ROOT, 'docs', name), 'utf8');
    assert.ok(committed === text, `docs/${name} is out of date: run npm run docs`);
  }
});
