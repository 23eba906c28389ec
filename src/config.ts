/** The settings of `settings.ts`, read from the environment. */
import { isIP } from 'node:net';
import { fileURLToPath } from 'node:url';
import { SETTINGS, type Setting } from './settings.js';

type Value<S extends Setting> = S['kind'] extends 'integer' | 'bytes' | 'number' ? number : string;
export type Config = { [K in keyof typeof SETTINGS]: Value<(typeof SETTINGS)[K]> };

/** The folder that holds package.json. */
export const PROJECT_ROOT = fileURLToPath(new URL('../../', import.meta.url));

/** Reads the settings; throws one error that names every wrong one, with what was expected and what came. */
export function readConfig(env: Record<string, string | undefined> = process.env): Config {
  const wrong: string[] = [];
  const config: Record<string, string | number> = {};
  for (const [key, setting] of Object.entries(SETTINGS) as [string, Setting][]) {
    const text = env[setting.env] || setting.default;
    if (setting.kind === 'string') config[key] = text;
    else if (setting.kind === 'choice') {
      if (!setting.choices?.includes(text))
        wrong.push(`${setting.env}: expected one of ${setting.choices?.join(', ')}, got ${JSON.stringify(text)}`);
      config[key] = text;
    } else {
      const value = Number(text);
      const { min = 0, max = Number.MAX_SAFE_INTEGER } = setting;
      if (
        text.trim() === '' ||
        (setting.kind !== 'number' && !Number.isInteger(value)) ||
        !(value >= min && value <= max)
      ) {
        wrong.push(
          `${setting.env}: expected ${setting.kind === 'number' ? 'a number' : 'a whole number'} from ${min} to ${max}, got ${JSON.stringify(text)}`,
        );
      }
      config[key] = value;
    }
  }
  if (config.defaultBits !== '' && !/^([2-8]|16|32)$/.test(String(config.defaultBits))) {
    wrong.push(`DEFAULT_BITS: expected 2..8, 16, 32 or nothing, got ${JSON.stringify(config.defaultBits)}`);
  }
  wrong.push(...wrongRedis(config));
  const proxies = wrongProxy(String(config.trustProxy));
  if (proxies !== undefined) {
    const expected = 'addresses or networks between commas, or a number of proxies';
    wrong.push(`TRUST_PROXY: expected ${expected}, got ${JSON.stringify(proxies)}`);
  }
  if (wrong.length > 0) throw new Error(`configuration:\n  ${wrong.join('\n  ')}`);
  return config as Config;
}

/** The URL may hold a password, so that it is never repeated. */
function wrongRedis({ role, redisUrl, redisPrefix }: Record<string, string | number>): string[] {
  const wrong: string[] = [];
  if (redisUrl === '' && role !== 'all') {
    wrong.push(`REDIS_URL: expected a Redis server that hands jobs to trainers, as ROLE is ${role}, got nothing`);
  }
  if (redisUrl !== '' && !/^rediss?:$/.test(URL.parse(String(redisUrl))?.protocol ?? '')) {
    wrong.push('REDIS_URL: expected redis://host:port/database or rediss://…, got something else');
  }
  if (!/^[\w.:-]{1,64}$/.test(String(redisPrefix))) {
    wrong.push(`REDIS_PREFIX: expected 1 to 64 of A-Z a-z 0-9 _ . : -, got ${JSON.stringify(redisPrefix)}`);
  }
  return wrong;
}

/** The first entry that is no address, network or name of networks; a number alone counts proxies. */
function wrongProxy(text: string): string | undefined {
  if (/^(\d{1,2})?$/.test(text)) return undefined;
  return text.split(',').find((entry) => {
    const [address, prefix, ...more] = entry.trim().split('/');
    if (['loopback', 'linklocal', 'uniquelocal'].includes(address)) return prefix !== undefined;
    const family = isIP(address);
    const bits = prefix === undefined ? 0 : /^\d+$/.test(prefix) ? Number(prefix) : Number.NaN;
    return family === 0 || more.length > 0 || !(bits <= (family === 4 ? 32 : 128));
  });
}
