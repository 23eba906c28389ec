#!/usr/bin/env node
/**
 * Soak and chaos: `npm run soak -- [--minutes=10] [--kills=20] [--seed=1] [--out=file.json] [--write] [soak|chaos]`.
 * Minutes of mixed traffic against one process, then SIGKILLs of another at random moments; prints what was promised beside what was
 * measured and exits 1 where a promise is broken. --write puts the run into docs/SOAK.md. On Linux (memory is read from /proc).
 */
import { existsSync, writeFileSync } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { availableParallelism, loadavg, tmpdir } from 'node:os';
import { join } from 'node:path';
import { uniform } from '../../bench/nets.mjs';
import { Report } from '../balancer/report.mjs';
import { freePort, ROOT, Service } from '../support/program.mjs';
import { chaos } from './chaos.mjs';
import { endurance } from './endurance.mjs';
import { page } from './page.mjs';

const TOKEN = 'soak';
const MAX_BODY_BYTES = 1 << 20;
const args = process.argv.slice(2);
const option = (name, fallback) => args.find((a) => a.startsWith(`--${name}=`))?.slice(name.length + 3) ?? fallback;
const [minutes, kills, seed] = [option('minutes', 10), option('kills', 20), option('seed', 1)].map(Number);
if (!(minutes > 0 && kills >= 0 && Number.isInteger(seed)))
  throw new Error('soak: expected --minutes, --kills and --seed to be numbers');
const named = args.filter((a) => !a.startsWith('--'));
const wanted = (part) => named.length === 0 || named.includes(part);
if (!existsSync(join(ROOT, 'dist/src/main.js'))) {
  console.error('soak: dist/ is not there; run `npm run build` first');
  process.exit(1);
}

const report = new Report();
const results = {
  date: new Date().toISOString(),
  node: process.version,
  cores: availableParallelism(),
  load: loadavg()[0],
  minutes,
  kills,
  seed,
};
if (wanted('soak')) {
  // few variants fit at once, so that they come and go
  results.soak = await withService({ VARIANT_CACHE_BYTES: '700000' }, (service) =>
    endurance(service, report, { minutes, random: uniform(seed), token: TOKEN, maxBodyBytes: MAX_BODY_BYTES }),
  );
}
if (wanted('chaos')) {
  results.chaos = await withService({}, (service) =>
    chaos(service, report, { rounds: kills, random: uniform(seed + 1), token: TOKEN }),
  );
}
results.promises = report.rows;
console.log(report.table());
const out = option('out');
if (out) writeFileSync(out, `${JSON.stringify(results, null, 2)}\n`);
if (args.includes('--write')) writeFileSync(join(ROOT, 'docs/SOAK.md'), page(results));
console.log(`soak: ${report.broken} of ${report.rows.length} promises broken`);
process.exitCode = report.broken > 0 ? 1 : 0;

async function withService(env, run) {
  const dataDir = await mkdtemp(join(tmpdir(), 'bitdial-soak-'));
  const settings = {
    ADMIN_TOKEN: TOKEN,
    DATA_DIR: dataDir,
    LOG_LEVEL: 'error',
    MAX_BODY_BYTES: String(MAX_BODY_BYTES),
    ...env,
  };
  const service = new Service('the service', await freePort(), settings);
  try {
    await service.start();
    return await run(service);
  } finally {
    await service.stop();
    await rm(dataDir, { recursive: true, force: true });
  }
}
