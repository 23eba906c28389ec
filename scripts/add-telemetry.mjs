/**
 * Makes the OpenTelemetry packages part of a lean install: moves them in package.json from devDependencies to dependencies.
 *
 *   node scripts/add-telemetry.mjs && npm install --omit=dev
 */
import { readFileSync, writeFileSync } from 'node:fs';

const path = new URL('../package.json', import.meta.url);
const project = JSON.parse(readFileSync(path, 'utf8'));
for (const [name, version] of Object.entries(project.devDependencies)) {
  if (!name.startsWith('@opentelemetry/')) continue;
  delete project.devDependencies[name];
  project.dependencies[name] = version;
}
writeFileSync(path, `${JSON.stringify(project, null, 2)}\n`);
