import { randomBytes } from 'node:crypto';
import type { Logger } from 'pino';
import type { Config } from '../config.js';
import { AdminTokens, parseTokens } from '../http/plugins/tokens.js';

/** Characters below which a token may be guessed. */
const SHORT = 16;

/**
 * The admin tokens of the settings; where there are none, one that is made now.
 * @returns also the token that was made, which somebody has to be told
 */
export async function openAdminTokens(config: Config, logger: Logger): Promise<{ tokens: AdminTokens; made?: string }> {
  const given = parseTokens(config.adminToken);
  const file = config.adminTokenFile || undefined;
  const made = given.length === 0 && file === undefined ? randomBytes(24).toString('base64url') : undefined;
  if (given.some((token) => token.length < SHORT)) {
    logger.warn(`an admin token is shorter than ${SHORT} characters`);
  }
  const tokens = new AdminTokens({ tokens: made === undefined ? given : [made], file, logger });
  await tokens.open().catch((error: Error) => {
    throw new Error(`ADMIN_TOKEN_FILE: ${error.message}`);
  });
  return { tokens, made };
}
