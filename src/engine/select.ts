import type { Engine } from './engine.js';
import { NativeEngine } from './native.js';
import { WorkerEngine } from './workers.js';

export interface EngineChoice {
  /** auto: native where the addon loads, else reference. */
  engine: 'auto' | 'native' | 'reference' | 'tfjs';
  /** 0: one for each core. */
  threads?: number;
  logger?: { warn(message: string): void };
}

/**
 * The engine that the configuration asks for. With auto and no addon it says so once, and how to get it.
 * @throws Error where `native` is asked for and does not load
 */
export async function createEngine({ engine, threads = 0, logger }: EngineChoice): Promise<Engine> {
  if (engine === 'reference') return WorkerEngine.create({ threads });
  if (engine === 'tfjs') return WorkerEngine.createTfjs();
  try {
    return await NativeEngine.create({ threads });
  } catch (error) {
    const { message } = error as Error;
    if (engine === 'native') {
      throw new Error(`ENGINE=native: ${message}; \`npm run build:native\` builds it (it needs g++ or clang++)`);
    }
    logger?.warn(
      `The slow reference engine serves: the native one did not load (${message}). ` +
        'With g++ or clang++ installed, `npm run build:native` builds it.',
    );
    return WorkerEngine.create({ threads });
  }
}
