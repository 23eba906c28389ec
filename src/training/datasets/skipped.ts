import type { Skipped } from './dataset.js';

/** What is said of files that are left out. */
export function skippedText({ count, of, files }: Skipped): string {
  const more = count > files.length ? `; and ${count - files.length} more` : '';
  return `${count} of ${of} files of the data set cannot be read and are left out: ${files.join('; ')}${more}`;
}
