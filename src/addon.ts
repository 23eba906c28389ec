/** The addon that native/ builds: where it is, and loading it. What it holds is for its users to say. */
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { PROJECT_ROOT } from './config.js';

/** Where `npm run build:native` puts it; BITDIAL_ADDON names another file, for sanitizers. */
export function addonPath(): string {
  return process.env.BITDIAL_ADDON || join(PROJECT_ROOT, 'native/build/Release/bitdial.node');
}

/**
 * Loads the addon.
 * @throws Error that says why not, in one line
 */
export function loadAddon(): unknown {
  const path = addonPath();
  if (!existsSync(path)) throw new Error(`${path} does not exist`);
  return createRequire(import.meta.url)(path);
}
