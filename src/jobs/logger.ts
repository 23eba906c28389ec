import type { BaseLogger } from 'pino';

/** The part of a pino logger that jobs use. */
export type Logger = Pick<BaseLogger, 'debug' | 'info' | 'warn' | 'error'>;
