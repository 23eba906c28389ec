import type { Config } from '../config.js';
import { createLogger } from '../http/plugins/logging.js';
import { Metrics } from '../http/plugins/metrics.js';
import { Readiness } from '../http/plugins/readiness.js';
import { ModelStore } from '../model/store.js';
import { readEnergyTable } from '../quantize/energy.js';
import { openTelemetry } from '../telemetry/open.js';
import { buildTrainerApp } from '../trainer-app.js';
import { onStop } from './drain.js';
import { openJobs } from './job-queue.js';
import { say } from './messages.js';
import { projectVersion } from './version.js';

/** A process that runs training jobs and nothing else; its port answers those who look after it. */
export async function startTraining(config: Config): Promise<void> {
  const logger = createLogger(config.logLevel);
  // that it cannot be read is better known now than in the first job
  readEnergyTable(config.energyTable || undefined);
  const readiness = new Readiness();
  const metrics = new Metrics();
  const telemetry = await openTelemetry({ logger, version: projectVersion() });
  const store = new ModelStore({ modelsDir: config.modelsDir, dataDir: config.dataDir, logger });
  const { queue } = await openJobs(config, store, logger, telemetry.jobs);
  const app = await buildTrainerApp({ config, queue, metrics, readiness, logger });
  telemetry.exportMetrics(metrics);

  onStop(config.drainMs, readiness, logger, {
    stopListening: () => app.close(),
    cutConnections: () => app.server.closeAllConnections(),
    closeParts: async () => {
      await queue.close();
      await telemetry.close();
    },
  });

  const url = await app.listen({ port: config.port, host: config.host });
  readiness.ready();
  say(`bitdial trains; its health is on ${url}/health/ready`);
}
