/** Imported before the service: says at its end which modules of OpenTelemetry it loaded. */
import { createRequire } from 'node:module';
import { isMainThread } from 'node:worker_threads';

if (isMainThread) {
  const { cache } = createRequire(import.meta.url);
  process.on('exit', () => {
    const files = Object.keys(cache).map((file) => /@opentelemetry[\\/]([\w-]+)/.exec(file)?.[1]);
    const names = [...new Set(files.filter((name) => name !== undefined))].sort();
    process.stderr.write(`loaded: ${names.join(' ')}\n`);
  });
}
