/** Takes the lock of a folder, says whether it has it, and keeps it until it is killed. */
import { FolderLock } from '../../src/jobs/folder-lock.js';

process.send?.(
  await FolderLock.acquire(process.argv[2]).then(
    () => 'held',
    () => 'refused',
  ),
);
setInterval(() => undefined, 1000);
