#!/usr/bin/env node
/**
 * Runs nginx with deploy/nginx/nginx.conf.template in front of two replicas of the built service, a trainer and Redis, all on the
 * loopback, trains through it, sends requests while replicas are restarted and killed, prints what was promised beside what was measured, and exits 1 where a
 * promise is broken. `npm run test:balancer`; where there is no nginx or no Redis it says so and exits 0, with --require 1.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT } from '../support/program.mjs';
import { Cluster, findNginx, findRedis, nginxVersion } from './cluster.mjs';
import { Report } from './report.mjs';
import { drain, kill, rollingRestart } from './restarts.mjs';
import { clients, crowd, edges, locality } from './routing.mjs';
import { training } from './training.mjs';

if (!existsSync(join(ROOT, 'dist/src/main.js'))) {
  console.error('balancer: dist/ is not there; run `npm run build` first');
  process.exit(1);
}
const [nginx, redis] = [findNginx(), findRedis()];
const missing = [
  !nginx && 'nginx (apt-get install nginx-light, or NGINX=path)',
  !redis && 'redis-server (or REDIS_SERVER=path)',
].filter(Boolean);
if (missing.length > 0) {
  console.error(`balancer: there is no ${missing.join(', no ')}: not run`);
  process.exit(process.argv.includes('--require') ? 1 : 0);
}

const began = performance.now();
const report = new Report();
const cluster = await Cluster.start(nginx, redis);
try {
  for (const part of [locality, crowd, edges, clients, training, rollingRestart, kill, drain])
    await part(cluster, report);
} finally {
  await cluster.stop();
}
console.log(report.table());
const seconds = ((performance.now() - began) / 1000).toFixed(0);
console.log(
  `balancer: ${nginxVersion(nginx)}, ${seconds} s, ${report.broken} of ${report.rows.length} promises broken`,
);
process.exitCode = report.broken > 0 ? 1 : 0;
