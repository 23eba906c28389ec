/** Starts the service as the settings say; what cannot start says why and exits 1. */
import { type Config, readConfig } from './config.js';
import { explain, say } from './process/messages.js';
import { startServing } from './process/serving.js';

try {
  await startServing(readSettings());
} catch (error) {
  say(`bitdial cannot start: ${explain(error as NodeJS.ErrnoException)}`);
  process.exit(1);
}

function readSettings(): Config {
  const config = readConfig();
  if (/\s/.test(config.adminToken)) throw new Error('configuration:\n  ADMIN_TOKEN: expected no spaces, got some');
  return config;
}
