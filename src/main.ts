/** Starts the service as the settings say; what cannot start says why and exits 1. */
import { type Config, readConfig } from './config.js';
import { parseTokens } from './http/plugins/tokens.js';
import { exitOnStop } from './process/drain.js';
import { explain, say } from './process/messages.js';

exitOnStop();
try {
  const config = readSettings();
  if (config.role === 'train') await (await import('./process/training.js')).startTraining(config);
  else await (await import('./process/serving.js')).startServing(config);
} catch (error) {
  say(`bitdial cannot start: ${explain(error as NodeJS.ErrnoException)}`);
  process.exit(1);
}

function readSettings(): Config {
  const config = readConfig();
  try {
    parseTokens(config.adminToken);
  } catch (error) {
    throw new Error(`configuration:\n  ADMIN_TOKEN: ${(error as Error).message}`);
  }
  return config;
}
