/** Writes the generated pages: docs/openapi.json, docs/CONFIG.md, docs/METRICS.md. */
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { buildApp } from '../app.js';
import { PROJECT_ROOT, readConfig } from '../config.js';
import { metricsPage } from '../http/plugins/metrics-page.js';
import { SETTINGS } from '../settings.js';

/** Each generated page by its name in docs/. */
export async function pages(): Promise<Record<string, string>> {
  return { 'openapi.json': await openapiDocument(), 'CONFIG.md': configPage(), 'METRICS.md': metricsPage() };
}

async function openapiDocument(): Promise<string> {
  const { version } = JSON.parse(readFileSync(join(PROJECT_ROOT, 'package.json'), 'utf8')) as { version: string };
  // registering routes calls none of the parts
  const nothing = {} as never;
  const app = await buildApp({
    config: { ...readConfig({}), logLevel: 'silent' },
    service: nothing,
    store: nothing,
    queue: nothing,
    datasets: nothing,
    importer: nothing,
    known: async () => ({}),
    engineName: 'none',
    adminTokens: nothing,
    version,
  });
  const document = app.swagger();
  await app.close();
  return `${JSON.stringify(document, null, 2)}\n`;
}

function configPage(): string {
  const rows = Object.values(SETTINGS).map((setting) => {
    const bounds = 'choices' in setting ? setting.choices.join(', ') : kind(setting);
    const fallback = setting.default === '' ? '–' : `\`${setting.default}\``;
    return `| \`${setting.env}\` | ${bounds} | ${fallback} | ${setting.meaning} |`;
  });
  return `# Settings

Every setting is an environment variable. A wrong one stops the start with a message that names it. OpenTelemetry's own variables
(\`OTEL_*\`): [OBSERVABILITY.md](OBSERVABILITY.md).

| variable | value | default | meaning |
|---|---|---|---|
${rows.join('\n')}

This page is generated from \`src/settings.ts\` by \`npm run docs\`.
`;
}

function kind(setting: { kind: string; min?: number; max?: number }): string {
  const { min, max } = setting;
  if (setting.kind === 'string') return 'text';
  const name = setting.kind === 'bytes' ? 'bytes' : setting.kind === 'integer' ? 'whole number' : 'number';
  if (min !== undefined && max !== undefined) return `${name}, ${min} to ${max}`;
  return min === undefined ? name : `${name}, ${min} or more`;
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const folder = join(PROJECT_ROOT, 'docs');
  mkdirSync(folder, { recursive: true });
  for (const [name, text] of Object.entries(await pages())) writeFileSync(join(folder, name), text);
}
