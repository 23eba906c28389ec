import type { BaseLogger } from 'pino';

/** The part of a pino logger that jobs use. */
export type Logger = Pick<BaseLogger, 'debug' | 'info' | 'warn' | 'error'>;

/** The logger with these fields in every line. */
export function marked(logger: Logger, fields: Record<string, unknown>): Logger {
  const at = (level: keyof Logger) => (given: object, text?: string) => logger[level]({ ...fields, ...given }, text);
  return { debug: at('debug'), info: at('info'), warn: at('warn'), error: at('error') } as Logger;
}
