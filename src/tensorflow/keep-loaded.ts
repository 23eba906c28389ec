import { constants } from 'node:os';

/** Of dlfcn.h on Linux; Node names the other flags. */
const RTLD_NODELETE = 0x1000;

/**
 * Runs `load`; the native libraries that it loads stay in memory when this thread ends. Node unloads what only a worker thread had
 * loaded, but libtensorflow has handlers that run when the process exits, so its code must still be there.
 */
export function keepLoaded(load: () => void): void {
  if (process.platform !== 'linux') {
    load();
    return;
  }
  const { dlopen } = process;
  process.dlopen = (module: object, file: string, flags: number = constants.dlopen.RTLD_LAZY) =>
    dlopen.call(process, module, file, flags | RTLD_NODELETE);
  try {
    load();
  } finally {
    process.dlopen = dlopen;
  }
}
